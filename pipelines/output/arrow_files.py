"""Files of one kind in an output as a file system that pyarrow can read."""

from typing import Any

from fsspec.spec import AbstractFileSystem

from pipelines.output.store import Store


class StoredFiles(AbstractFileSystem):  # type: ignore[misc]  # fsspec has no types
    """The committed files of `kind` in `store`, by their names, for reading."""

    cachable = False

    def __init__(self, store: Store, kind: str) -> None:
        super().__init__()
        self._store = store
        self._kind = kind

    def info(self, path: str, **_: object) -> dict[str, Any]:
        """Return what pyarrow asks of a file whose name is from a listing."""
        return {"name": path, "size": None, "type": "file"}

    def _open(self, path: str, *_: object, **__: object) -> Any:  # noqa: ANN401
        stream = self._store.open(self._kind, path)
        if stream is None:
            raise FileNotFoundError(path)
        return stream
