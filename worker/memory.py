"""What the process does with memory that is freed."""

import ctypes
from typing import Final

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
