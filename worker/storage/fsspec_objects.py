"""Objects in any other file system that fsspec opens: hdfs://, https://, memory:// and so on.

They can only be read: such a file system has no write that is refused where another came between.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO, NoReturn, cast

import fsspec

from schemas.errors import OutputError
from worker.storage.objects import Stored

_WITHOUT_LISTING = ("http://", "https://")


class ReadObjects:
    """The objects below the URL `root`, to read. Their versions are all the same.

    :raises OutputError: if nothing that is installed opens such URLs.
    """

    def __init__(self, root: str) -> None:
        self.root = root.rstrip("/")
        self._file_system()

    def get(self, path: str) -> Stored | None:
        """Return an object."""
        with self._reporting("read", path):
            try:
                data: bytes = self._file_system().cat_file(self._place(path))
            except FileNotFoundError:
                return None
        return Stored(data, "")

    def put(self, path: str, data: bytes, *, over: str | None) -> NoReturn:  # noqa: ARG002
        """Refuse to.

        :raises OutputError: always.
        """
        raise self._refusal("write", path)

    def open(self, path: str) -> BinaryIO | None:
        """Open an object."""
        with self._reporting("read", path):
            try:
                return cast("BinaryIO", self._file_system().open(self._place(path), "rb"))
            except FileNotFoundError:
                return None

    def names(self, folder: str, prefix: str = "") -> list[str]:
        """List the objects in a folder.

        :raises OutputError: if that cannot be done, as by HTTP.
        """
        if self.root.startswith(_WITHOUT_LISTING):
            raise OutputError(
                f"cannot list '{self.root}/{folder}': HTTP has no listing; name what is to be read "
                "in full, or read it from the file system behind that server"
            )
        with self._reporting("list", folder):
            try:
                entries = self._file_system().ls(self._place(folder), detail=True, refresh=True)
            except FileNotFoundError:
                return []
        names = [x["name"].rstrip("/").rpartition("/")[2] for x in entries if x["type"] == "file"]
        return sorted(name for name in names if name.startswith(prefix))

    def remove(self, path: str) -> NoReturn:
        """Refuse to.

        :raises OutputError: always.
        """
        raise self._refusal("remove", path)

    def _place(self, path: str) -> str:
        return f"{self.root}/{path}"

    def _file_system(self) -> Any:  # noqa: ANN401 - fsspec publishes no types
        """Return what opens the URL; fsspec keeps one for each."""
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
            f"cannot {action} '{self.root}/{path}': {scheme}:// can only be read here, for it has "
            "no write that is refused where another came between; use a folder of this machine, "
            "s3:// or gs://"
        )

    @contextmanager
    def _reporting(self, action: str, path: str) -> Iterator[None]:
        """Turn the failures of a file system, each of which has its own, into an `OutputError`."""
        try:
            yield
        except (OutputError, FileNotFoundError):
            raise
        except Exception as error:
            reason = " ".join(str(error).split()).rstrip(".") or type(error).__name__
            raise OutputError(
                f"cannot {action} '{self.root}/{path}': {reason}; check the URL and that its "
                "server can be reached, then give the same command again"
            ) from error
