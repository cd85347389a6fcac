"""File locks between processes and threads of one machine, released when the holder dies."""

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from schemas.errors import LockedError

WAIT_SECONDS = 120.0
_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.001, 0.05


@contextmanager
def exclusive(
    path: Path,
    *,
    wait_seconds: float = WAIT_SECONDS,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[None]:
    """Hold an exclusive lock on the file `path`, which is created if missing.

    Waits up to `wait_seconds` for another process or thread to release it. The file is not removed.

    :raises LockedError: if the lock is not released in that time.
    :raises OSError: if the file cannot be created or locked.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = _open(path)
    try:
        end = clock() + wait_seconds
        pause = _SHORTEST_PAUSE
        while not _try_lock(descriptor):
            if clock() >= end:
                raise LockedError(path, _holder(descriptor))
            sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
        _sign(descriptor)
        yield
    finally:
        os.close(descriptor)


@dataclass(frozen=True, slots=True)
class HeldLock:
    """A lock that this process holds until it calls `release` or dies."""

    path: Path
    descriptor: int

    def release(self) -> None:
        """Release the lock and remove its file."""
        self.path.unlink(missing_ok=True)
        os.close(self.descriptor)


def try_hold(path: Path) -> HeldLock | None:
    """Acquire the lock file `path`, created if missing; return None if it is already held.

    :raises OSError: if the file cannot be created or locked.
    """
    descriptor = _open(path)
    if _try_lock(descriptor):
        return HeldLock(path, descriptor)
    os.close(descriptor)
    return None


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _sign(descriptor: int) -> None:
    """Write this process's id into the lock file, for error messages only."""
    content = f"{os.getpid()}\n".encode()
    if os.pread(descriptor, 32, 0) != content:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, content, 0)


def _holder(descriptor: int) -> str:
    return os.pread(descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"
