"""Opening of regular files only, so that a named pipe or device cannot block the reader."""

import errno
import io
import os
import stat
from pathlib import Path


class NotRegularError(OSError):
    """An error: a regular file is expected, and the path is a named pipe, device or socket."""


def open_regular(path: Path) -> io.BufferedReader:
    """Open a regular file for reading.

    :raises NotRegularError: if it is a named pipe or a device.
    :raises OSError: if it cannot be opened, or is a folder.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        return os.fdopen(descriptor, "rb")
    os.close(descriptor)
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, "it is a folder, not a regular file", str(path))
    kind = "a named pipe" if stat.S_ISFIFO(mode) else "a device"
    raise NotRegularError(errno.EINVAL, f"it is {kind}, not a regular file", str(path))
