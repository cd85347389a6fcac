"""Stores that call a hook before every step that changes something: to fail, die or stop there."""

import io
import os
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, cast

from pipelines.output.store import Content, DiskStore
from schemas.errors import ConflictError
from worker.storage.objects import ListedObjects, Objects, ObjectState, Stored

Hook = Callable[[str], None]
"""Is told what is about to be done: `stage mentions`, `commit citations`, `put citations/x`."""


class CrashError(BaseException):
    """Stands for the death of the process: nothing that tidies up may run behind it."""


@dataclass
class CrashAt:
    """A hook that lets `steps` steps pass; from then on every step is a crash."""

    steps: int | None
    done: list[str] = field(default_factory=list)

    def __call__(self, step: str) -> None:
        if self.steps is not None and len(self.done) >= self.steps:
            raise CrashError(step)
        self.done.append(step)


@dataclass
class FailAt:
    """A hook that raises `error` at one step, counted from 1."""

    step: int
    error: Exception
    done: list[str] = field(default_factory=list)

    def __call__(self, step: str) -> None:
        self.done.append(step)
        if len(self.done) == self.step:
            raise self.error


@dataclass
class SignalAt:
    """A hook that sends this process a signal before the first step of that name."""

    step: str
    signal: signal.Signals
    sent: bool = False

    def __call__(self, step: str) -> None:
        if step == self.step and not self.sent:
            self.sent = True
            os.kill(os.getpid(), self.signal)


class SteppedDisk(DiskStore):
    """A store on a disk; a crash while a file is staged leaves half of it."""

    hook: Hook

    def __init__(self, root: Path, hook: Hook) -> None:
        super().__init__(root)
        object.__setattr__(self, "hook", hook)

    def stage(self, kind: str, name: str, data: Content) -> None:
        try:
            self.hook(f"stage {kind}")
        except CrashError:
            if not isinstance(data, bytes):
                data.seek(0)
                data = data.read()
            super().stage(kind, name, data[: len(data) // 2])
            raise
        super().stage(kind, name, data)

    def commit(self, kind: str, name: str) -> None:
        self.hook(f"commit {kind}")
        super().commit(kind, name)

    def undo(self, name: str) -> None:
        self.hook("undo")
        super().undo(name)


@dataclass
class MemoryObjects:
    """A bucket in memory with conditional PUT, as S3 has it."""

    stored: dict[str, Stored] = field(default_factory=dict)
    puts: list[str] = field(default_factory=list)

    def get(self, path: str) -> Stored | None:
        return self.stored.get(path)

    def put(self, path: str, data: bytes, *, over: str | None) -> str:
        before = self.stored.get(path)
        if (None if before is None else before.version) != over:
            raise ConflictError(path)
        self.puts.append(path)
        self.stored[path] = Stored(data, f"v{len(self.puts)}")
        return self.stored[path].version

    def open(self, path: str) -> BinaryIO | None:
        found = self.stored.get(path)
        return None if found is None else io.BytesIO(found.data)

    def names(self, folder: str, prefix: str = "") -> list[str]:
        paths = [path.rpartition("/") for path in self.stored]
        return sorted(x for above, _, x in paths if above == folder and x.startswith(prefix))

    def states(self, folder: str, prefixes: Sequence[str] = ("",)) -> dict[str, ObjectState]:
        found = {x: self.stored[f"{folder}/{x}"] for x in self.names(folder)}
        return {
            name: ObjectState(len(stored.data), stored.version, settled=True)
            for name, stored in found.items()
            if name.startswith(tuple(prefixes))
        }

    def remove(self, path: str) -> None:
        self.stored.pop(path, None)


@dataclass
class SteppedObjects:
    """Objects whose every request goes past a hook first, or (`late`) once it was answered."""

    inner: Objects
    hook: Hook
    late: bool = False

    def get(self, path: str) -> Stored | None:
        self.hook(f"get {path}")
        return self.inner.get(path)

    def put(self, path: str, data: bytes, *, over: str | None) -> str:
        if not self.late:
            self.hook(f"put {path}")
        version = self.inner.put(path, data, over=over)
        if self.late:
            self.hook(f"put {path}")
        return version

    def open(self, path: str) -> BinaryIO | None:
        return self.inner.open(path)

    def names(self, folder: str, prefix: str = "") -> list[str]:
        return self.inner.names(folder, prefix)

    def states(self, folder: str, prefixes: Sequence[str] = ("",)) -> dict[str, ObjectState]:
        return cast("ListedObjects", self.inner).states(folder, prefixes)

    def remove(self, path: str) -> None:
        self.inner.remove(path)
