"""A sliding window over a byte stream that moves from record to record."""

import re
from collections.abc import Iterable
from typing import Final

from schemas.errors import DamagedStreamError

LONGEST_TOKEN: Final = 96
"""The most bytes that a match of a pattern may need, its lookahead included."""


class Window:
    """A sliding window over a stream of chunks; it begins at the current unit (record or gap).

    Positions are relative to the unit's first byte, so they stay valid while more is read.
    `damage` is the error of a damaged stream once its end was reached, else None.
    """

    __slots__ = ("_absent", "_base", "_chunks", "_ended", "damage", "data", "start")

    def __init__(self, chunks: Iterable[bytes]) -> None:
        """Start at the first byte of `chunks`; nothing is read yet."""
        self._chunks = iter(chunks)
        self._ended = False
        self._base = 0  # position of data[0] in the stream
        self._absent: dict[bytes, int] = {}  # needle -> it does not begin before here
        self.data = b""
        self.start = 0
        self.damage: DamagedStreamError | None = None

    @property
    def position(self) -> int:
        """The position of the unit's first byte in the stream."""
        return self._base + self.start

    @property
    def size(self) -> int:
        """The number of buffered bytes from the unit's first byte on."""
        return len(self.data) - self.start

    def fill(self) -> bool:
        """Read on by at least a quarter of the buffered bytes; False at the stream's end."""
        if self._ended:
            return False
        self._base += self.start
        pieces = [self.data[self.start :]]
        wanted, gained = len(pieces[0]) // 4, 0
        try:
            for chunk in self._chunks:
                pieces.append(chunk)
                gained += len(chunk)
                if gained and gained >= wanted:
                    break
            else:
                self._ended = True
        except DamagedStreamError as error:
            self._ended, self.damage = True, error
        self.data, self.start = b"".join(pieces), 0
        return gained > 0

    def find(self, needle: bytes, position: int, limit: int) -> int:
        """Return the first position of `needle` from `position` on, reading as needed; else -1.

        The search ends at the stream's end, or after `limit` bytes of the unit.
        """
        known = self._absent.get(needle, 0) - self._base - self.start
        position = max(position, known)
        while True:
            at = self.data.find(needle, self.start + position, self.start + limit)
            if at >= 0:
                return at - self.start
            position = max(position, min(self.size, limit) - len(needle) + 1)
            if self.size >= limit or not self.fill():
                self._absent[needle] = self._base + self.start + position
                return -1

    def search(self, pattern: re.Pattern[bytes], position: int, limit: int) -> tuple[bytes, int]:
        """Return the first match of `pattern` from `position` on and its position.

        More is read as needed; `(b"", -1)` if there is no match in the first `limit` bytes of the
        unit or before the stream's end.
        """
        while True:
            match = pattern.search(self.data, self.start + position, self.start + limit)
            if match is not None:
                return match[0], match.start() - self.start
            position = max(position, self.size - LONGEST_TOKEN)
            if self.size >= limit or not self.fill():
                return b"", -1

    def take(self, size: int) -> bytes:
        """Return the first `size` bytes of the unit; the next unit begins after them."""
        begin = self.start
        self.start = min(begin + size, len(self.data))
        return self.data[begin : self.start]
