"""Object store in a local folder: objects are replaced by rename while a lock file is held."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from schemas.errors import ConflictError, OutputError
from worker.storage.atomic import write_whole
from worker.storage.objects import Stored
from worker.system.locks import exclusive
from worker.system.regular_files import NotRegularError, open_regular

_LOCKS = ".locks"
_NO_OBJECT = (FileNotFoundError, NotADirectoryError, NotRegularError)
"""Errors that mean that there is no object; a named pipe or a device is not an object."""


@dataclass(frozen=True, slots=True)
class DiskObjects:
    """The object store in the folder `root`; an object's version is the SHA-256 of its bytes."""

    root: Path

    def get(self, path: str) -> Stored | None:
        """Return an object; None if it does not exist."""
        location = self.root / path
        with _reporting("read", location):
            try:
                with open_regular(location) as stream:
                    data = stream.read()
            except _NO_OBJECT:
                return None
        return Stored(data, _version(data))

    def put(self, path: str, data: bytes, *, over: str | None) -> str:
        """Store an object if its current version is `over`.

        The operating system releases the lock of a writer that dies; its unfinished file is not
        yet an object.
        """
        location = self.root / path
        with _reporting("write", location), exclusive(self._lock(path)):
            found = self.get(path)
            if (None if found is None else found.version) != over:
                raise ConflictError(f"{str(location)!r} was replaced by another writer")
            location.parent.mkdir(parents=True, exist_ok=True)
            write_whole(location, data)
        return _version(data)

    def open(self, path: str) -> BinaryIO | None:
        """Open an object; None if it does not exist."""
        location = self.root / path
        with _reporting("read", location):
            try:
                return open_regular(location)
            except _NO_OBJECT:
                return None

    def digest(self, path: str) -> str | None:
        """Return the SHA-256 of an object as hex, read in chunks; None if it does not exist."""
        location = self.root / path
        with _reporting("read", location):
            try:
                with open_regular(location) as stream:
                    return hashlib.file_digest(stream, "sha256").hexdigest()
            except _NO_OBJECT:
                return None

    def names(self, folder: str, prefix: str = "") -> list[str]:
        """Return the sorted names of the files in a folder, without temporary and hidden ones."""
        location = self.root / folder
        with _reporting("list", location):
            if not location.is_dir():
                return []
            return sorted(
                entry.name
                for entry in location.iterdir()
                if entry.name.startswith(prefix) and entry.name[0] != "." and entry.is_file()
            )

    def remove(self, path: str) -> None:
        """Remove an object."""
        location = self.root / path
        with _reporting("remove", location), exclusive(self._lock(path)):
            location.unlink(missing_ok=True)

    def _lock(self, path: str) -> Path:
        return self.root / _LOCKS / f"{path.replace('/', '-')}.lock"


def _version(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@contextmanager
def _reporting(action: str, location: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"cannot {action} {str(location)!r}: {error.strerror or error}; free disk space or "
            "check the folder's permissions, then run the same command again"
        ) from error
