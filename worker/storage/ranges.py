"""One version of an object that is read by ranges, with its end at hand from the start."""

import io
from typing import Any, Protocol

TAIL_BYTES = 2**17
"""Enough for the footer of a block's file, where Parquet begins, in one request."""


class RangedObjects(Protocol):
    """A store of objects that gives parts of them."""

    def read_range(self, path: str, begin: int, end: int, version: str) -> bytes:
        """Return the bytes [begin, end) of a version of an object."""


class RangeStream(io.RawIOBase):
    """A version of an object of `size` bytes; `tail` is its end, which is here already."""

    def __init__(
        self, objects: RangedObjects, path: str, version: str, size: int, tail: bytes
    ) -> None:
        super().__init__()
        self._objects = objects
        self._path = path
        self._version = version
        self._size = size
        self._tail = tail
        self._at = 0

    def readable(self) -> bool:
        """Return that it is."""
        return True

    def seekable(self) -> bool:
        """Return that it is."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place, and return it."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def tell(self) -> int:
        """Return the place in bytes."""
        return self._at

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401 - any writable buffer
        """Fill `buffer`, and return with how many bytes."""
        end = min(self._at + len(buffer), self._size)
        data = self._read(self._at, end) if self._at < end else b""
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)

    def _read(self, begin: int, end: int) -> bytes:
        kept = self._size - len(self._tail)
        if begin >= kept:
            return self._tail[begin - kept : end - kept]
        return self._objects.read_range(self._path, begin, end, self._version)
