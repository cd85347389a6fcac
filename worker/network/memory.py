"""Memory management of the process: the allocator's cache and the garbage collector."""

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
    """Let glibc keep freed memory for reuse; return whether that succeeded.

    By default glibc returns large blocks to the system at once, and each new one is then mapped and
    zeroed page by page: 4 % of an encoder's time. The kept memory is bounded by the peak usage.
    The parameters are those of `mallopt(3)`; other C libraries are not configured.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return False
    done = [mallopt(*setting) for setting in (_MMAP_THRESHOLD, _TRIM_THRESHOLD, _TOP_PAD)]
    return all(done)


def keep_from_collector() -> None:
    """Exclude all existing objects from garbage collection.

    Beam and torch create some 100,000 objects that live as long as the process. A block creates as
    many again, so the collector would traverse them all several times per block.
    """
    if not gc.get_freeze_count():
        atexit.register(gc.unfreeze)  # extensions report leaks when the process ends
    gc.unfreeze()  # release the objects of an earlier run in this process
    gc.collect()
    gc.freeze()


def release_memory() -> None:
    """Return unused memory to the system, which otherwise the process would keep."""
    keep_from_collector()
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()
    with contextlib.suppress(AttributeError, OSError):  # a C library other than glibc
        ctypes.CDLL(None).malloc_trim(0)
