"""Read-only object store for other URLs that fsspec opens: hdfs://, https://, memory://, ….

It is read-only because such file systems have no conditional writes.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO, NoReturn, cast

import fsspec

from schemas.errors import OutputError
from worker.storage.objects import Stored

_WITHOUT_LISTING = ("http://", "https://")


class ReadObjects:
    """The read-only object store at the URL `root`. Every object has the same version, "".

    :raises OutputError: if no installed package opens such URLs.
    """

    def __init__(self, root: str) -> None:
        self.root = root.rstrip("/")
        self._file_system()

    def get(self, path: str) -> Stored | None:
        """Return an object; None if it does not exist."""
        with self._reporting("read", path):
            try:
                data: bytes = self._file_system().cat_file(self._url(path))
            except FileNotFoundError:
                return None
        return Stored(data, "")

    def put(self, path: str, data: bytes, *, over: str | None) -> NoReturn:  # noqa: ARG002
        """Refuse to write.

        :raises OutputError: always.
        """
        raise self._refusal("write", path)

    def open(self, path: str) -> BinaryIO | None:
        """Open an object; None if it does not exist."""
        with self._reporting("read", path):
            try:
                return cast("BinaryIO", self._file_system().open(self._url(path), "rb"))
            except FileNotFoundError:
                return None

    def names(self, folder: str, prefix: str = "") -> list[str]:
        """Return the sorted names of the objects in a folder.

        :raises OutputError: if the file system cannot list, such as HTTP.
        """
        if self.root.startswith(_WITHOUT_LISTING):
            raise OutputError(
                f"cannot list '{self.root}/{folder}': HTTP has no listing; give full paths, or "
                "read from the file system behind that server"
            )
        with self._reporting("list", folder):
            try:
                entries = self._file_system().ls(self._url(folder), detail=True, refresh=True)
            except FileNotFoundError:
                return []
        names = [x["name"].rstrip("/").rpartition("/")[2] for x in entries if x["type"] == "file"]
        return sorted(name for name in names if name.startswith(prefix))

    def remove(self, path: str) -> NoReturn:
        """Refuse to remove.

        :raises OutputError: always.
        """
        raise self._refusal("remove", path)

    def _url(self, path: str) -> str:
        return f"{self.root}/{path}"

    def _file_system(self) -> Any:  # noqa: ANN401 - fsspec publishes no types
        """Return the file system of the URL; fsspec caches one instance for each."""
        try:
            return fsspec.core.url_to_fs(self.root)[0]
        except (ImportError, ValueError, OSError) as error:
            reason = " ".join(str(error).split()).rstrip(".")
            raise OutputError(
                f"cannot open {self.root!r}: {reason}; give a folder, s3://, gs:// or another URL "
                "that fsspec opens"
            ) from error

    def _refusal(self, action: str, path: str) -> OutputError:
        scheme = self.root.partition("://")[0]
        return OutputError(
            f"cannot {action} '{self.root}/{path}': {scheme}:// is read-only here, because it "
            "has no conditional writes; use a folder of this machine, s3:// or gs://"
        )

    @contextmanager
    def _reporting(self, action: str, path: str) -> Iterator[None]:
        """Turn any exception of a file system into an `OutputError`."""
        try:
            yield
        except (OutputError, FileNotFoundError):
            raise
        except Exception as error:
            reason = " ".join(str(error).split()).rstrip(".") or type(error).__name__
            raise OutputError(
                f"cannot {action} '{self.root}/{path}': {reason}; check the URL and that its "
                "server can be reached, then run the same command again"
            ) from error
