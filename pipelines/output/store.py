"""Where output files lie, and how a block's three come into place.

This module and `object_store` alone know the difference between a disk and an object store. On a
disk the three are staged as temporary files in the folders where they will lie, synced, then
renamed, while a lock keeps other writers of the partition out. A replacement that was cut short is
finished or undone by whoever opens the block next: it is finished where some renames were made
(then all three had been staged, and what is not in place yet still lies there), else undone.
"""

import os
import shutil
import socket
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO, Protocol

from pipelines.blocks.keys import BlockKey, encode_source, file_name, parse_name
from pipelines.blocks.tables import revision_in
from schemas.arrow import KINDS
from schemas.errors import LockedError, OutputError
from worker.storage.disk import DiskObjects
from worker.storage.locations import absolute, is_local
from worker.storage.objects import Objects, ObjectState
from worker.system.locks import WAIT_SECONDS, exclusive

__all__ = ["DiskStore", "Replacement", "Store", "is_local", "local_path", "open_store", "reporting"]

MANIFEST = "pubner.json"
TEMPORARY_SUFFIX = ".tmp"
LOCKS = ".locks"
_COPIED_BYTES = 2**20
_SETTLED_NANOSECONDS = 2 * 10**9
"""How old a modification must be for its time to be trusted: some disks count in two seconds."""


Content = bytes | IO[bytes]
"""What a file shall hold: its bytes, or another file, read from its beginning."""


class Replacement(Protocol):
    """One block of the output, held to be replaced. Its files agree, unless they were damaged."""

    def open(self, kind: str) -> BinaryIO | None:
        """Open a file in place, to be closed by the caller; None where there is none."""

    def check(self) -> None:
        """Make sure that what was read so far was read between two replacements.

        :raises ConflictError: if another writer began one.
        """

    def replace(self, files: Mapping[str, Content]) -> None:
        """Put the three files in place: all of them, sooner or later, or none.

        :raises ConflictError: if the block was replaced since it was read.
        """


class Store(Protocol):
    """The output folder: one folder a kind, files by name. Every failure is an `OutputError`."""

    def replacing(self, key: BlockKey) -> AbstractContextManager[Replacement]:
        """Hold the block `key`; what another writer left half done is finished or undone first."""

    def scratch(self) -> IO[bytes]:
        """Return an empty temporary file, which goes when it is closed or the process ends."""

    def names(self, kind: str, prefix: str = "") -> list[str]:
        """Return the names that begin with `prefix` of the files of `kind` in place, sorted."""

    def states(self, kind: str, prefixes: Sequence[str] = ("",)) -> dict[str, ObjectState]:
        """Return the committed files of `kind` that begin with any of `prefixes`, by name."""

    def control_files(self) -> Objects:
        """Return the output's own small files: their names begin with `.`, each is put whole."""

    def open(self, kind: str, name: str) -> BinaryIO | None:
        """Open a file that is in place, to be closed by the caller; None where there is none."""

    def remove(self, kind: str, name: str) -> None:
        """Remove a file that is in place; nothing happens where there is none."""


def open_store(root: str) -> Store:
    """Return the store at `root`: a folder, or a URL of any file system that Beam opens.

    :raises OutputError: if what opens such URLs is not installed.
    """
    if is_local(root):
        return DiskStore(local_path(root))
    from pipelines.output.object_store import open_object_store

    return open_object_store(root)


def local_path(path: str) -> Path:
    """Return the whole path of a local `path`, which may begin with `file://` or `~`."""
    return Path(absolute(path))


@contextmanager
def reporting(action: str, place: object) -> Iterator[None]:
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
    """An output folder on a disk; in one that was `opened` for a run lies its manifest."""

    root: Path
    opened: bool = False

    @contextmanager
    def replacing(self, key: BlockKey) -> Iterator["_DiskReplacement"]:
        """Hold the lock of the block's partition.

        :raises LockedError: if another process keeps it for minutes.
        :raises OutputError: if this process sees another folder than the one that was opened.
        """
        self._check_opened()
        with self._locked(key):
            name = file_name(key)
            self.settle(name)
            yield _DiskReplacement(self, name)

    def _check_opened(self) -> None:
        if self.opened and not (self.root / MANIFEST).exists():
            raise OutputError(
                f"a worker on {socket.gethostname()} sees no {MANIFEST} in {str(self.root)!r}, "
                "where the command has put one: it does not see the command's folder; give a "
                "folder that all workers see by the same path, or the URL of an object store"
            )

    @contextmanager
    def _locked(self, key: BlockKey, *, wait_seconds: float = WAIT_SECONDS) -> Iterator[None]:
        place = self.root / LOCKS / f"{encode_source(key.source)}-{key.partition}.lock"
        with reporting("lock", place), exclusive(place, wait_seconds=wait_seconds):
            yield

    def scratch(self) -> IO[bytes]:
        """Return a temporary file on the output's disk: it has room, unlike memory's `/tmp`."""
        with reporting("write", self.root):
            self.root.mkdir(parents=True, exist_ok=True)
            return tempfile.TemporaryFile(dir=self.root)

    def put(self, name: str, files: Mapping[str, Content]) -> None:
        """Replace a block's files. Only who holds its partition may call this."""
        first, *others = KINDS
        try:
            for kind in KINDS:
                self.stage(kind, name, files[kind])
            self._sync_folders()
            self.commit(first, name)
        except BaseException:
            self.undo(name)
            raise
        for kind in others:
            self.commit(kind, name)
        self._sync_folders()

    def stage(self, kind: str, name: str, data: Content) -> None:
        """Write and sync a temporary file in the folder where the file will lie."""
        temporary = self._temporary(kind, name)
        with reporting("write", self.root / kind / name):
            if not temporary.parent.is_dir():
                temporary.parent.mkdir(parents=True, exist_ok=True)
                _sync_folder(self.root)
            with temporary.open("wb") as stream:
                if isinstance(data, bytes):
                    stream.write(data)
                else:
                    data.seek(0)
                    shutil.copyfileobj(data, stream, _COPIED_BYTES)
                stream.flush()
                os.fsync(stream.fileno())

    def commit(self, kind: str, name: str) -> None:
        """Rename the temporary file to the file's own name."""
        place = self.root / kind / name
        with reporting("write", place):
            self._temporary(kind, name).replace(place)

    def settle(self, name: str) -> None:
        """Finish or undo a replacement that was cut short. Only who holds the partition may."""
        staged = [kind for kind in KINDS if self._temporary(kind, name).exists()]
        if not staged:
            return
        revision = self._half_placed(name)
        for kind in staged:
            if revision is not None and _revision(self._temporary(kind, name)) == revision:
                self.commit(kind, name)
        self._sync_folders()
        self.undo(name)

    def _half_placed(self, name: str) -> str | None:
        """Return the revision of which every file is there, but not every one in place."""
        placed = [_revision(self.root / kind / name) for kind in KINDS]
        if len(set(placed)) == 1:
            return None
        staged = [_revision(self._temporary(kind, name)) for kind in KINDS]
        whole = [
            revision
            for revision in placed
            if revision is not None
            and all(revision in files for files in zip(placed, staged, strict=True))
        ]
        return whole[0] if whole else None

    def undo(self, name: str) -> None:
        """Remove the temporary files of a block. Only who holds its partition may call this."""
        for kind in KINDS:
            temporary = self._temporary(kind, name)
            with reporting("remove", temporary):
                temporary.unlink(missing_ok=True)

    def _temporary(self, kind: str, name: str) -> Path:
        return self.root / kind / f".{name}{TEMPORARY_SUFFIX}"

    def _sync_folders(self) -> None:
        for kind in KINDS:
            folder = self.root / kind
            with reporting("write", folder):
                if folder.is_dir():
                    _sync_folder(folder)

    def names(self, kind: str, prefix: str = "") -> list[str]:
        """List the folder of `kind`; temporary files are left out."""
        folder = self.root / kind
        if not folder.is_dir():
            return []
        with reporting("list", folder):
            found = os.listdir(folder)  # noqa: PTH208 - a full output has 40,000, a path each is slow
            return sorted(name for name in found if name.startswith(prefix) and name[0] != ".")

    def states(self, kind: str, prefixes: Sequence[str] = ("",)) -> dict[str, ObjectState]:
        """List the folder of `kind`; a file's version is the time of its modification.

        Whether that is long ago is told by the file system's own clock, which may be a server's.
        """
        folder = self.root / kind
        if not folder.is_dir():
            return {}
        found: dict[str, ObjectState] = {}
        with reporting("list", folder), self.scratch() as probe, os.scandir(folder) as entries:
            settled = os.fstat(probe.fileno()).st_mtime_ns - _SETTLED_NANOSECONDS
            for entry in entries:
                if entry.name[0] == "." or not entry.name.startswith(tuple(prefixes)):
                    continue
                with suppress(FileNotFoundError):  # it was removed since it was listed
                    stat = entry.stat()
                    found[entry.name] = ObjectState(
                        stat.st_size, str(stat.st_mtime_ns), stat.st_mtime_ns < settled
                    )
        return found

    def control_files(self) -> Objects:
        """Return the files below the output's folder."""
        return DiskObjects(self.root)

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
        with reporting("remove", place):
            place.unlink(missing_ok=True)

    def settle_leftovers(self) -> None:
        """Finish or undo every replacement that was cut short.

        What a writer still holds (one that was stopped, say) is left to it, or to the next one.
        """
        found = {
            path.name.removeprefix(".").removesuffix(TEMPORARY_SUFFIX)
            for kind in KINDS
            for path in (self.root / kind).glob(f".*{TEMPORARY_SUFFIX}")
        }
        for name in sorted(found):
            key = parse_name(name)
            if key is None:
                self.undo(name)
                continue
            try:
                with self._locked(key, wait_seconds=0):
                    self.settle(name)
            except LockedError:
                continue


@dataclass(frozen=True, slots=True)
class _DiskReplacement:
    """A block on a disk while its partition is locked."""

    store: DiskStore
    name: str

    def open(self, kind: str) -> BinaryIO | None:
        return self.store.open(kind, self.name)

    def check(self) -> None:
        """Nobody else can write: the partition is locked."""

    def replace(self, files: Mapping[str, Content]) -> None:
        self.store.put(self.name, files)


def _revision(place: Path) -> str | None:
    """Return the revision of a block's file; None where there is none, or half of one."""
    try:
        with place.open("rb") as stream:
            return revision_in(stream)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise OutputError(f"cannot read {str(place)!r}: {error.strerror}") from error


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
