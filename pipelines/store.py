"""Where output files lie, and how one comes into place: by rename on a disk, by PUT elsewhere.

This is the only place that knows the difference. A disk gets a temporary file in the same folder,
synced, then renamed. An object store (anything else that Beam opens) has no rename worth the name:
an object appears whole when its upload ends, so it is put where it belongs at once.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems

from schemas.arrow import KINDS
from schemas.errors import OutputError

TEMPORARY_SUFFIX = ".tmp"


@dataclass(frozen=True, slots=True)
class Staged:
    """A file that is ready to be put in place: `data` in memory, or on disk as `temporary`."""

    kind: str
    name: str
    data: bytes
    temporary: Path | None = None


class Store(Protocol):
    """The output folder: one folder a kind, files by name. Every failure is an `OutputError`."""

    def stage(self, kind: str, name: str, data: bytes) -> Staged:
        """Make `data` ready to become the file `name` of `kind`; nothing is visible yet."""

    def commit(self, staged: Staged) -> None:
        """Put a staged file in place, replacing what was there, in one step."""

    def discard(self, staged: Staged) -> None:
        """Give up a staged file."""

    def names(self, kind: str) -> list[str]:
        """Return the names of the files of `kind` that are in place, sorted."""

    def open(self, kind: str, name: str) -> BinaryIO | None:
        """Open a file that is in place, to be closed by the caller; None where there is none."""

    def remove(self, kind: str, name: str) -> None:
        """Remove a file that is in place; nothing happens where there is none."""


def open_store(root: str) -> Store:
    """Return the store at `root`: a folder, or a URL of any file system that Beam opens."""
    if is_local(root):
        return DiskStore(local_path(root))
    return ObjectStore(root)


def is_local(path: str) -> bool:
    """Whether `path` lies on this machine's own file system."""
    return "://" not in path or path.startswith("file://")


def local_path(path: str) -> Path:
    """Return the path of a local `path`, which may begin with `file://`."""
    return Path(path.removeprefix("file://"))


@contextmanager
def _reporting(action: str, place: object) -> Iterator[None]:
    """Turn an operating system's or a store's failure into an `OutputError`."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise OutputError(
            f"cannot {action} {str(place)!r}: {reason}; make room or choose another --output, then "
            "give the same command again: what is in place stays"
        ) from error


@dataclass(frozen=True, slots=True)
class DiskStore:
    """An output folder on a disk."""

    root: Path

    def stage(self, kind: str, name: str, data: bytes) -> Staged:
        """Write and sync a temporary file in the folder where the file will lie."""
        temporary = self.root / kind / f".{name}{TEMPORARY_SUFFIX}"
        with _reporting("write", temporary.parent / name):
            temporary.parent.mkdir(parents=True, exist_ok=True)
            try:
                with temporary.open("wb") as stream:
                    stream.write(data)
                    stream.flush()
                    os.fsync(stream.fileno())
            except OSError:
                temporary.unlink(missing_ok=True)
                raise
        return Staged(kind, name, b"", temporary)

    def commit(self, staged: Staged) -> None:
        """Rename the temporary file and sync its folder."""
        if staged.temporary is None:
            raise OutputError(f"{staged.name!r} was staged for another store")
        place = self.root / staged.kind / staged.name
        with _reporting("write", place):
            staged.temporary.replace(place)
            _sync_folder(place.parent)

    def discard(self, staged: Staged) -> None:
        """Remove the temporary file."""
        if staged.temporary is not None:
            with _reporting("remove", staged.temporary):
                staged.temporary.unlink(missing_ok=True)

    def names(self, kind: str) -> list[str]:
        """List the folder of `kind`; temporary files are left out."""
        folder = self.root / kind
        if not folder.is_dir():
            return []
        with _reporting("list", folder):
            return sorted(path.name for path in folder.iterdir() if path.name[0] != ".")

    def open(self, kind: str, name: str) -> BinaryIO | None:
        """Open a file in place."""
        place = self.root / kind / name
        try:
            return place.open("rb")
        except FileNotFoundError:
            return None
        except OSError as error:
            raise OutputError(f"cannot read {str(place)!r}: {error.strerror}") from error

    def remove(self, kind: str, name: str) -> None:
        """Remove a file in place."""
        place = self.root / kind / name
        with _reporting("remove", place):
            place.unlink(missing_ok=True)

    def remove_leftovers(self) -> int:
        """Remove the temporary files of a run that was killed; return how many there were.

        Only who holds the folder's lock may call this.
        """
        count = 0
        for kind in KINDS:
            for path in (self.root / kind).glob(f".*{TEMPORARY_SUFFIX}"):
                with _reporting("remove", path):
                    path.unlink(missing_ok=True)
                count += 1
        return count


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@dataclass(frozen=True, slots=True)
class ObjectStore:
    """An output prefix in a store that Beam opens, without rename."""

    root: str

    def _place(self, kind: str, name: str) -> str:
        return FileSystems.join(self.root, kind, name)

    def stage(self, kind: str, name: str, data: bytes) -> Staged:
        """Keep the data in memory: the upload is what puts them in place."""
        return Staged(kind, name, data)

    def commit(self, staged: Staged) -> None:
        """Upload the object under its final name."""
        place = self._place(staged.kind, staged.name)
        with (
            _reporting("write", place),
            FileSystems.create(place, compression_type=CompressionTypes.UNCOMPRESSED) as stream,
        ):
            stream.write(staged.data)

    def discard(self, staged: Staged) -> None:
        """Nothing was stored."""

    def names(self, kind: str) -> list[str]:
        """List the objects under the prefix of `kind`."""
        prefix = self._place(kind, "")
        with _reporting("list", prefix):
            [result] = FileSystems.match([f"{prefix.rstrip('/')}/*"])
        return sorted(entry.path.rpartition("/")[2] for entry in result.metadata_list)

    def open(self, kind: str, name: str) -> BinaryIO | None:
        """Open an object."""
        place = self._place(kind, name)
        with _reporting("read", place):
            if not FileSystems.exists(place):
                return None
            return FileSystems.open(place, compression_type=CompressionTypes.UNCOMPRESSED)

    def remove(self, kind: str, name: str) -> None:
        """Remove an object."""
        place = self._place(kind, name)
        with _reporting("remove", place):
            if FileSystems.exists(place):
                FileSystems.delete([place])
