"""Locks between processes and threads of one machine; the system frees them when a holder dies."""

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
    place: Path,
    *,
    wait_seconds: float = WAIT_SECONDS,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[None]:
    """Hold the lock file `place`, alone among all processes and threads; it is made if need be.

    Waits up to `wait_seconds` for another holder. The file stays.

    :raises LockedError: if the other one does not end in that time.
    :raises OSError: if the file cannot be made or locked.
    """
    place.parent.mkdir(parents=True, exist_ok=True)
    descriptor = _open(place)
    try:
        end = clock() + wait_seconds
        pause = _SHORTEST_PAUSE
        while not _try_lock(descriptor):
            if clock() >= end:
                raise LockedError(place, _holder(descriptor))
            sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
        _sign(descriptor)
        yield
    finally:
        os.close(descriptor)


@dataclass(frozen=True, slots=True)
class HeldLock:
    """A lock that this process holds until `release`, or until it dies."""

    path: Path
    descriptor: int

    def release(self) -> None:
        """Give the lock up and remove its file."""
        self.path.unlink(missing_ok=True)
        os.close(self.descriptor)


def try_hold(path: Path) -> HeldLock | None:
    """Take the lock file `path`, made if need be; return None where it is held already.

    :raises OSError: if the file cannot be made or locked.
    """
    descriptor = _open(path)
    if _try_lock(descriptor):
        return HeldLock(path, descriptor)
    os.close(descriptor)
    return None


def _open(place: Path) -> int:
    return os.open(place, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _sign(descriptor: int) -> None:
    """Write this process's number into the lock file, for messages alone."""
    mine = f"{os.getpid()}\n".encode()
    if os.pread(descriptor, 32, 0) != mine:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, mine, 0)


def _holder(descriptor: int) -> str:
    return os.pread(descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"
