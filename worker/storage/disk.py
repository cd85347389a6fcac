"""Objects in a folder of this machine, replaced by rename while a lock keeps other writers out."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from schemas.errors import ConflictError, OutputError
from worker.storage.objects import Stored
from worker.system.locks import exclusive
from worker.system.regular_files import NotRegularError, open_regular

_LOCKS = ".locks"
_TEMPORARY_SUFFIX = ".tmp"
_NO_OBJECT = (FileNotFoundError, NotADirectoryError, NotRegularError)
"""What says that there is no object: a named pipe or a device is none either."""


@dataclass(frozen=True, slots=True)
class DiskObjects:
    """The files below the folder `root`; an object's version is the SHA-256 of its bytes."""

    root: Path

    def get(self, path: str) -> Stored | None:
        """Return an object."""
        place = self.root / path
        with _reporting("read", place):
            try:
                with open_regular(place) as stream:
                    data = stream.read()
            except _NO_OBJECT:
                return None
        return Stored(data, _version(data))

    def put(self, path: str, data: bytes, *, over: str | None) -> str:
        """Store an object if `over` is what it replaces.

        The system frees the lock of a writer that dies; what it had begun is no object yet.
        """
        place = self.root / path
        with _reporting("write", place), exclusive(self._lock(path)):
            found = self.get(path)
            if (None if found is None else found.version) != over:
                raise ConflictError(f"{str(place)!r} was replaced by another writer")
            place.parent.mkdir(parents=True, exist_ok=True)
            temporary = place.with_name(f".{place.name}{_TEMPORARY_SUFFIX}")
            with temporary.open("wb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            temporary.replace(place)
            _sync_folder(place.parent)
        return _version(data)

    def open(self, path: str) -> BinaryIO | None:
        """Open an object."""
        place = self.root / path
        with _reporting("read", place):
            try:
                return open_regular(place)
            except _NO_OBJECT:
                return None

    def digest(self, path: str) -> str | None:
        """Return the SHA-256 of an object as hex, without having all of it in memory."""
        place = self.root / path
        with _reporting("read", place):
            try:
                with open_regular(place) as stream:
                    return hashlib.file_digest(stream, "sha256").hexdigest()
            except _NO_OBJECT:
                return None

    def names(self, folder: str, prefix: str = "") -> list[str]:
        """List the files in a folder; those that are being written are left out."""
        place = self.root / folder
        with _reporting("list", place):
            if not place.is_dir():
                return []
            return sorted(
                entry.name
                for entry in place.iterdir()
                if entry.name.startswith(prefix) and entry.name[0] != "." and entry.is_file()
            )

    def remove(self, path: str) -> None:
        """Remove an object."""
        place = self.root / path
        with _reporting("remove", place), exclusive(self._lock(path)):
            place.unlink(missing_ok=True)

    def _lock(self, path: str) -> Path:
        return self.root / _LOCKS / f"{path.replace('/', '-')}.lock"


def _version(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _reporting(action: str, place: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"cannot {action} {str(place)!r}: {error.strerror or error}; make room or check the "
            "folder's rights, then give the same command again"
        ) from error
