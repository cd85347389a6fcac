"""What the process does with memory that is freed."""

import atexit
import contextlib
import ctypes
import gc
from typing import Final

import torch

_MMAP_THRESHOLD: Final = (-3, 32 << 20)
_TRIM_THRESHOLD: Final = (-1, 1 << 30)
_TOP_PAD: Final = (-2, 64 << 20)


def keep_freed_memory() -> bool:
    """Have the C library keep what is freed for the next request; say whether it does.

    glibc gives large blocks back to the system at once, and each new one is then mapped and zeroed
    page by page: 4 % of an encoder's time. What is kept is bounded by what was used at one time.
    The parameters are those of `mallopt(3)`; another C library is left alone.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return False
    done = [mallopt(*setting) for setting in (_MMAP_THRESHOLD, _TRIM_THRESHOLD, _TOP_PAD)]
    return all(done)


def keep_from_collector() -> None:
    """Let the garbage collector pass over all that there is by now.

    Beam and torch are some 100,000 objects that live as long as the process. A block makes as many
    again, so the collector would look through them all several times a block.
    """
    if not gc.get_freeze_count():
        atexit.register(gc.unfreeze)  # extensions complain of what is left when the process ends
    gc.unfreeze()  # what an earlier run in this process has left is let go
    gc.collect()
    gc.freeze()


def settle_memory() -> None:
    """Give what is no longer in use back to the system, although freed memory is kept else."""
    keep_from_collector()
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()
    with contextlib.suppress(AttributeError, OSError):  # another C library than glibc
        ctypes.CDLL(None).malloc_trim(0)
