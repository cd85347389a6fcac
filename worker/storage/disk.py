"""Object store in a local folder: objects are replaced by rename while a lock file is held."""

import hashlib
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path

from schemas.errors import ConflictError, OutputError
from worker.storage.atomic import write_whole
from worker.storage.objects import ObjectState, Stored
from worker.system.locks import exclusive
from worker.system.regular_files import NotRegularError, open_regular

_LOCKS = ".locks"
_NO_OBJECT = (FileNotFoundError, NotADirectoryError, NotRegularError)
"""Errors that mean that there is no object; a named pipe or a device is not an object."""
_SETTLED_NANOSECONDS = 2 * 10**9
"""Minimum age of a modification time that is trusted: some disks have a 2-second resolution."""


@dataclass(frozen=True, slots=True)
class DiskObjects:
    """The object store in the folder `root`; an object's version is the SHA-256 of its bytes.

    In a listing it is the time of modification, so that no file has to be read.
    """

    root: Path

    def get(self, path: str) -> Stored | None:
        """Return an object; None if it does not exist."""
        stream = self.open(path)
        if stream is None:
            return None
        with reporting("read", self.root / path), stream:
            data = stream.read()
        return Stored(data, _version(data))

    def put(self, path: str, data: bytes, *, over: str | None) -> str:
        """Store an object if its current version is `over`.

        The operating system releases the lock of a writer that dies; its unfinished file is not
        yet an object.
        """
        location = self.root / path
        with reporting("write", location), exclusive(self._lock(path)):
            found = self.get(path)
            if (None if found is None else found.version) != over:
                raise ConflictError(f"{str(location)!r} was replaced by another writer")
            location.parent.mkdir(parents=True, exist_ok=True)
            write_whole(location, data)
        return _version(data)

    def open(self, path: str) -> BufferedReader | None:
        """Open an object; None if it does not exist."""
        location = self.root / path
        with reporting("read", location):
            try:
                return open_regular(location)
            except _NO_OBJECT:
                return None

    def digest(self, path: str) -> str | None:
        """Return the SHA-256 of an object as hex, read in chunks; None if it does not exist."""
        stream = self.open(path)
        if stream is None:
            return None
        with reporting("read", self.root / path), stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()

    def names(self, folder: str, prefix: str = "") -> list[str]:
        """Return the sorted names of the files in a folder, without temporary and hidden ones."""
        return sorted(entry.name for entry in self._entries(folder, (prefix,)))

    def states(self, folder: str, prefixes: Sequence[str] = ("",)) -> dict[str, ObjectState]:
        """List the files in a folder; their versions are their times of modification.

        Their age is measured by the file system's own clock, which may be a server's.
        """
        if not (self.root / folder).is_dir():
            return {}
        found: dict[str, ObjectState] = {}
        with reporting("list", self.root / folder), tempfile.TemporaryFile(dir=self.root) as probe:
            settled = os.fstat(probe.fileno()).st_mtime_ns - _SETTLED_NANOSECONDS
            for entry in self._entries(folder, prefixes):
                with suppress(FileNotFoundError):  # it was removed since it was listed
                    stat = entry.stat()
                    found[entry.name] = ObjectState(
                        stat.st_size, str(stat.st_mtime_ns), stat.st_mtime_ns < settled
                    )
        return found

    def _entries(self, folder: str, prefixes: Sequence[str]) -> Iterator["os.DirEntry[str]"]:
        location = self.root / folder
        beginnings = tuple(prefixes)
        with reporting("list", location):
            if not location.is_dir():
                return
            with os.scandir(location) as entries:
                for entry in entries:
                    named = entry.name[0] != "." and entry.name.startswith(beginnings)
                    if named and entry.is_file():
                        yield entry

    def remove(self, path: str) -> None:
        """Remove an object."""
        location = self.root / path
        with reporting("remove", location):
            if location.exists():
                with exclusive(self._lock(path)):
                    location.unlink(missing_ok=True)

    def _lock(self, path: str) -> Path:
        return self.root / _LOCKS / f"{path.replace('/', '-')}.lock"


def _version(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@contextmanager
def reporting(action: str, location: object) -> Iterator[None]:
    """Turn an operating system's failure into an `OutputError`."""
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"cannot {action} {str(location)!r}: {error.strerror or error}; free disk space or "
            "check the folder's permissions, or choose another one, then run the same command "
            "again: what is written stays"
        ) from error
