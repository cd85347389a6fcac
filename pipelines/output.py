"""The output folder as a whole: its manifest, and the lock that keeps a second writer out."""

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems

from pipelines.store import DiskStore, ObjectStore, Store, open_store
from pipelines.tables import FORMAT_VERSION
from schemas.arrow import KINDS
from schemas.errors import OutputError

MANIFEST = "pubner.json"
LOCK = ".pubner.lock"


@contextmanager
def open_output(root: str, *, block_size: int) -> Iterator[Store]:
    """Open the output at `root` for writing, alone, and record what its files are made by.

    On a disk a lock keeps a second writer out; the system frees it when its holder ends, however
    that is, and the next holder removes the temporary files of one that was killed. An object store
    has no lock: see to it that one run writes there at a time.

    :raises OutputError: if the output cannot be written, has another writer, or was made with
        another block size or format version.
    """
    store = open_store(root)
    if isinstance(store, DiskStore):
        with _locked(store.root):
            store.remove_leftovers()
            _agree(_DiskManifest(store.root / MANIFEST), store, root, block_size)
            yield store
    else:
        _agree(_ObjectManifest(FileSystems.join(root, MANIFEST)), store, root, block_size)
        yield store


def open_existing(root: str) -> Store:
    """Return the output at `root` for reading.

    :raises OutputError: if there is none.
    """
    store = open_store(root)
    manifest: _DiskManifest | _ObjectManifest
    if isinstance(store, ObjectStore):
        manifest = _ObjectManifest(FileSystems.join(root, MANIFEST))
    else:
        manifest = _DiskManifest(Path(root) / MANIFEST)
    if manifest.read() is None:
        raise OutputError(f"{root!r} holds no output of pubner: it has no {MANIFEST}")
    return store


@contextmanager
def _locked(root: Path) -> Iterator[None]:
    try:
        root.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(root / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise OutputError(
            f"cannot write to the output folder {str(root)!r}: {error.strerror}; choose another "
            "--output"
        ) from error
    try:
        _lock(descriptor, root)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, root: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"
        raise OutputError(
            f"another run is writing to {str(root)!r} (process {holder}); wait until it ends, or "
            "choose another --output"
        ) from None
    except OSError as error:
        raise OutputError(f"cannot lock {str(root / LOCK)!r}: {error.strerror}") from error
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    except OSError as error:
        raise OutputError(
            f"cannot write to the output folder {str(root)!r}: {error.strerror}; make room or "
            "choose another --output"
        ) from error


class _DiskManifest:
    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> bytes | None:
        try:
            return self.path.read_bytes()
        except FileNotFoundError:
            return None

    def write(self, data: bytes) -> None:
        temporary = self.path.with_name(f".{self.path.name}.tmp")
        temporary.write_bytes(data)
        temporary.replace(self.path)


class _ObjectManifest:
    def __init__(self, path: str) -> None:
        self.path = path

    def read(self) -> bytes | None:
        if not FileSystems.exists(self.path):
            return None
        with FileSystems.open(self.path, compression_type=CompressionTypes.UNCOMPRESSED) as stream:
            return stream.read()

    def write(self, data: bytes) -> None:
        with FileSystems.create(
            self.path, compression_type=CompressionTypes.UNCOMPRESSED
        ) as stream:
            stream.write(data)


def _agree(
    manifest: _DiskManifest | _ObjectManifest, store: Store, root: str, block_size: int
) -> None:
    """Check the output's manifest against this run's settings; write it where there is none."""
    expected = {"format_version": FORMAT_VERSION, "block_size": block_size}
    try:
        data = manifest.read()
        if data is None:
            if any(store.names(kind) for kind in KINDS):
                raise OutputError(
                    f"{root!r} holds files in {', '.join(KINDS)} but no {MANIFEST}: it is no "
                    "output of pubner; choose another --output"
                )
            manifest.write((json.dumps(expected, indent=2) + "\n").encode())
            return
    except OSError as error:
        raise OutputError(
            f"cannot write to the output folder {root!r}: {error.strerror or error}; make room or "
            "choose another --output"
        ) from error
    _compare(_parse(data, root), expected, root)


def _parse(data: bytes, root: str) -> Mapping[str, Any]:
    try:
        found = json.loads(data)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise OutputError(f"{MANIFEST} in {root!r} is damaged; choose another --output")
    return found


def _compare(found: Mapping[str, Any], expected: Mapping[str, int], root: str) -> None:
    for name, value in expected.items():
        if found.get(name) != value:
            words = name.replace("_", " ")
            raise OutputError(
                f"the output in {root!r} has {words} {found.get(name)!r}, and this run {value!r}; "
                "give the same, or choose another --output"
            )
