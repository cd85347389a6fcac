"""A file-like reader of one object version by byte ranges, with its tail fetched in advance."""

import io
from typing import Any, Protocol

TAIL_BYTES = 2**17
"""Large enough for the footer of a Parquet file, which is read first, in one request."""


class RangedObjects(Protocol):
    """An object store that supports range reads."""

    def read_range(self, path: str, begin: int, end: int, version: str) -> bytes:
        """Return the bytes [begin, end) of a version of an object."""


class RangeStream(io.RawIOBase):
    """A readable stream over one version of an object; `tail` holds its last bytes already."""

    def __init__(
        self, objects: RangedObjects, path: str, version: str, size: int, tail: bytes
    ) -> None:
        super().__init__()
        self._objects = objects
        self._path = path
        self._version = version
        self._size = size
        self._tail = tail
        self._position = 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to a position in bytes and return it; it is never negative."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = max(0, base + offset)
        return self._position

    def tell(self) -> int:
        """Return the current position in bytes."""
        return self._position

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401 - any writable buffer
        """Fill `buffer` and return how many bytes were read; 0 at the end."""
        end = min(self._position + len(buffer), self._size)
        data = self._read(self._position, end) if self._position < end else b""
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)

    def _read(self, begin: int, end: int) -> bytes:
        tail_begin = self._size - len(self._tail)
        if begin >= tail_begin:
            return self._tail[begin - tail_begin : end - tail_begin]
        return self._objects.read_range(self._path, begin, end, self._version)
