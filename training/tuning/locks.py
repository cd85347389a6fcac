"""Locks between the processes of one search; the system frees them when a holder dies."""

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from schemas.errors import OutputError

WAIT_SECONDS = 120.0
_PAUSE = 0.01


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
    """Take the lock file `path`, made if need be; return None where another process holds it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return HeldLock(path, descriptor)


@contextmanager
def exclusive(
    path: Path,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[None]:
    """Hold the lock file `path` for a moment; wait for others that do. The file stays.

    :raises OutputError: if another process does not let go of it in `WAIT_SECONDS`.
    """
    end = clock() + WAIT_SECONDS
    while (held := try_hold(path)) is None:
        if clock() >= end:
            raise OutputError(
                f"another process has held the lock {str(path)!r} for {WAIT_SECONDS:.0f} s; end "
                "that process (it may be stopped), and give the command again"
            )
        sleep(_PAUSE)
    try:
        yield
    finally:
        os.close(held.descriptor)
