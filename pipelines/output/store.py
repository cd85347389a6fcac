"""Stores of output files, and how a block's three files are committed together.

Only this module and `object_store` distinguish a disk from an object store. On a disk the three
files are staged as temporary files in their final folders, synced, then renamed, while a lock
excludes other writers of the partition. The next writer of the block recovers an interrupted
replacement: it rolls forward if some renames were made (then all three files had been staged, and
the others still exist as temporary files), and otherwise back.
"""

import shutil
import socket
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, BinaryIO, Protocol

from pipelines.blocks.keys import BlockKey, encode_source, file_name, parse_name
from pipelines.blocks.tables import revision_in
from schemas.arrow import KINDS
from schemas.errors import LockedError, OutputError
from worker.storage.atomic import TEMPORARY_SUFFIX, sync, temporary_of
from worker.storage.disk import DiskObjects, reporting
from worker.storage.locations import absolute, is_local
from worker.storage.objects import ListedObjects, ObjectState
from worker.storage.opening import open_bucket
from worker.system.locks import WAIT_SECONDS, exclusive

__all__ = ["DiskStore", "Replacement", "Store", "is_local", "open_store", "reporting"]

MANIFEST = "pubner.json"
LOCKS = ".locks"
_COPIED_BYTES = 2**20


Content = bytes | IO[bytes]
"""The content of a file: bytes, or another file, read from its beginning."""


class Replacement(Protocol):
    """A block of the output, opened for replacement. Its files agree, unless they were damaged."""

    def open(self, kind: str) -> BinaryIO | None:
        """Open a committed file, to be closed by the caller; None if it does not exist."""

    def check(self) -> None:
        """Check that no other writer replaced the block while it was read.

        :raises ConflictError: if another writer began a replacement.
        """

    def replace(self, files: Mapping[str, Content]) -> None:
        """Commit the three files: all of them, now or by a later recovery, or none.

        :raises ConflictError: if the block was replaced since it was read.
        """


class Store(ABC):
    """An output: one folder for each kind of file. Every failure is an `OutputError`."""

    __slots__ = ()

    @property
    @abstractmethod
    def objects(self) -> ListedObjects:
        """All files of the output by their paths: the manifest, the index, the journals."""

    @abstractmethod
    def replacing(self, key: BlockKey) -> AbstractContextManager[Replacement]:
        """Open the block `key` for replacement, after recovering an interrupted replacement."""

    @abstractmethod
    def scratch(self) -> IO[bytes]:
        """Return an empty temporary file, removed when it is closed or the process ends."""

    @abstractmethod
    def recover(self, sources: Iterable[str]) -> None:
        """Recover interrupted replacements: those of `sources` at least."""

    def locked(self, name: str, refusal: str) -> AbstractContextManager[object]:  # noqa: ARG002
        """Hold the lock file `name`; a store without locks holds nothing.

        :raises OutputError: if another process holds it: `refusal`, a template in which `{root}` is
            the output and `{holder}` that process.
        """
        return nullcontext()

    def opened_for_run(self) -> "Store":
        """Return the store as it is sent to workers, which check that they see the same one."""
        return self

    def sweep(self, folder: str) -> None:  # noqa: ARG002
        """Remove what killed writers of single files left in `folder`; its lock must be held."""
        return

    def names(self, kind: str, prefix: str = "") -> list[str]:
        """Return, sorted, the names of committed files of `kind` that begin with `prefix`."""
        return self.objects.names(kind, prefix)

    def states(self, kind: str, prefixes: Sequence[str] = ("",)) -> dict[str, ObjectState]:
        """Return the committed files of `kind` that begin with any of `prefixes`, by name."""
        return self.objects.states(kind, prefixes)

    def open(self, kind: str, name: str) -> BinaryIO | None:
        """Open a committed file, to be closed by the caller; None if it does not exist."""
        return self.objects.open(f"{kind}/{name}")

    def remove(self, kind: str, name: str) -> None:
        """Remove a committed file; nothing happens where there is none."""
        self.objects.remove(f"{kind}/{name}")

    def arrow_files(self, kind: str) -> tuple[Any, str]:
        """Return a file system for pyarrow, and what its paths to files of `kind` begin with."""
        from pipelines.output.arrow_files import StoredFiles

        return StoredFiles(self, kind), ""


def open_store(root: str) -> Store:
    """Return the store at `root`: a folder, or a URL of any file system that Beam supports.

    :raises OutputError: if the package for such URLs is not installed.
    """
    if is_local(root):
        return DiskStore(Path(absolute(root)))
    from pipelines.output.beam_objects import BeamObjects
    from pipelines.output.object_store import ObjectStore

    return ObjectStore(open_bucket(root) or BeamObjects(root))


@dataclass(frozen=True, slots=True)
class DiskStore(Store):
    """An output folder on a disk; one that was `opened` for a run has a manifest."""

    root: Path
    opened: bool = False

    @property
    def objects(self) -> DiskObjects:
        """All files below the folder."""
        return DiskObjects(self.root)

    def opened_for_run(self) -> "DiskStore":
        """Return the store as it is sent to workers, which must see its manifest."""
        return replace(self, opened=True)

    @contextmanager
    def replacing(self, key: BlockKey) -> Iterator["_DiskReplacement"]:
        """Hold the lock of the block's partition.

        :raises LockedError: if another process holds it for minutes.
        :raises OutputError: if this process does not see the folder that was opened.
        """
        self._check_opened()
        with self._partition_locked(key):
            name = file_name(key)
            self.recover_block(name)
            yield _DiskReplacement(self, name)

    def _check_opened(self) -> None:
        if self.opened and not (self.root / MANIFEST).exists():
            raise OutputError(
                f"a worker on {socket.gethostname()} sees no {MANIFEST} in {str(self.root)!r}, "
                "which the command has written: it does not see the command's folder; give a "
                "folder that all workers see by the same path, or the URL of an object store"
            )

    @contextmanager
    def _partition_locked(
        self, key: BlockKey, *, wait_seconds: float = WAIT_SECONDS
    ) -> Iterator[None]:
        path = self.root / LOCKS / f"{encode_source(key.source)}-{key.partition}.lock"
        with reporting("lock", path), exclusive(path, wait_seconds=wait_seconds):
            yield

    @contextmanager
    def locked(self, name: str, refusal: str) -> Iterator[None]:
        """Hold the lock file `name`, which the system releases when this process ends."""
        with ExitStack() as held:
            try:
                held.enter_context(exclusive(self.root / name, wait_seconds=0))
            except LockedError as error:
                message = refusal.format(root=repr(str(self.root)), holder=error.holder)
                raise OutputError(message) from error
            except OSError as error:
                raise OutputError(
                    f"cannot write to the output folder {str(self.root)!r}: {error.strerror}; make "
                    "room or choose another --output"
                ) from error
            yield

    def sweep(self, folder: str) -> None:
        """Remove the temporary files in `folder`."""
        with reporting("remove files in", self.root / folder):
            for left in (self.root / folder).glob(f".*{TEMPORARY_SUFFIX}"):
                left.unlink(missing_ok=True)

    def scratch(self) -> IO[bytes]:
        """Return a temporary file on the output's disk, since `/tmp` may be in memory."""
        with reporting("write", self.root):
            self.root.mkdir(parents=True, exist_ok=True)
            return tempfile.TemporaryFile(dir=self.root)

    def put(self, name: str, files: Mapping[str, Content]) -> None:
        """Replace a block's files. The caller must hold the lock of its partition."""
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
        """Write and sync a temporary file in the file's final folder."""
        temporary = self._temporary(kind, name)
        with reporting("write", self.root / kind / name):
            if not temporary.parent.is_dir():
                temporary.parent.mkdir(parents=True, exist_ok=True)
                sync(self.root)
            with temporary.open("wb") as stream:
                if isinstance(data, bytes):
                    stream.write(data)
                else:
                    data.seek(0)
                    shutil.copyfileobj(data, stream, _COPIED_BYTES)
            sync(temporary)

    def commit(self, kind: str, name: str) -> None:
        """Rename the temporary file to its final name."""
        path = self.root / kind / name
        with reporting("write", path):
            self._temporary(kind, name).replace(path)

    def recover_block(self, name: str) -> None:
        """Recover an interrupted replacement. The caller must hold the lock of the partition."""
        staged = [kind for kind in KINDS if self._temporary(kind, name).exists()]
        if not staged:
            return
        revision = self._interrupted_revision(name)
        for kind in staged:
            if revision is not None and _revision(self._temporary(kind, name)) == revision:
                self.commit(kind, name)
        self._sync_folders()
        self.undo(name)

    def _interrupted_revision(self, name: str) -> str | None:
        """Return the revision that was staged, but only partly renamed; None without one."""
        committed = [_revision(self.root / kind / name) for kind in KINDS]
        if len(set(committed)) == 1:
            return None
        staged = [_revision(self._temporary(kind, name)) for kind in KINDS]
        complete = [
            revision
            for revision in committed
            if revision is not None
            and all(revision in files for files in zip(committed, staged, strict=True))
        ]
        return complete[0] if complete else None

    def undo(self, name: str) -> None:
        """Remove a block's temporary files. The caller must hold the lock of its partition."""
        for kind in KINDS:
            temporary = self._temporary(kind, name)
            with reporting("remove", temporary):
                temporary.unlink(missing_ok=True)

    def _temporary(self, kind: str, name: str) -> Path:
        return temporary_of(self.root / kind / name)

    def _sync_folders(self) -> None:
        for kind in KINDS:
            folder = self.root / kind
            with reporting("write", folder):
                if folder.is_dir():
                    sync(folder)

    def remove(self, kind: str, name: str) -> None:
        """Remove a committed file."""
        path = self.root / kind / name
        with reporting("remove", path):
            path.unlink(missing_ok=True)

    def arrow_files(self, kind: str) -> tuple[Any, str]:
        """Return the local file system of pyarrow, which reads without Python."""
        from pyarrow.fs import LocalFileSystem

        return LocalFileSystem(), f"{self.root / kind}/"

    def recover(self, sources: Iterable[str] = ()) -> None:  # noqa: ARG002 - all sources
        """Recover every interrupted replacement.

        Partitions that a writer still holds (a suspended one, for example) are skipped.
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
                with self._partition_locked(key, wait_seconds=0):
                    self.recover_block(name)
            except LockedError:
                continue


@dataclass(frozen=True, slots=True)
class _DiskReplacement:
    """A replacement of a block on a disk, while its partition is locked."""

    store: DiskStore
    name: str

    def open(self, kind: str) -> BinaryIO | None:
        return self.store.open(kind, self.name)

    def check(self) -> None:
        """Do nothing: the partition is locked, so there is no other writer."""

    def replace(self, files: Mapping[str, Content]) -> None:
        self.store.put(self.name, files)


def _revision(path: Path) -> str | None:
    """Return the revision of a block's file; None if it is missing or incomplete."""
    try:
        with path.open("rb") as stream:
            return revision_in(stream)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise OutputError(f"cannot read {str(path)!r}: {error.strerror}") from error
