"""A view on a stream of bytes that moves from record to record and reads on as it needs."""

import re
from collections.abc import Iterable
from typing import Final

from schemas.errors import DamagedStreamError

LONGEST_TOKEN: Final = 96
"""No token that a pattern looks for may need more bytes than this, what it looks ahead included."""


class Window:
    """A view on a stream of chunks that holds one unit (a record, a gap) and what follows it.

    Positions are relative to the unit's first byte, so they stay valid while more is read.
    `damage` is the error of a damaged stream once its end was reached, else None.
    """

    __slots__ = ("_absent", "_base", "_chunks", "_ended", "damage", "data", "start")

    def __init__(self, chunks: Iterable[bytes]) -> None:
        """Look at `chunks` from their first byte; nothing is read yet."""
        self._chunks = iter(chunks)
        self._ended = False
        self._base = 0  # position of data[0] in the stream
        self._absent: dict[bytes, int] = {}  # needle: it does not begin before this stream position
        self.data = b""
        self.start = 0
        self.damage: DamagedStreamError | None = None

    @property
    def position(self) -> int:
        """Where the unit's first byte stands in the stream."""
        return self._base + self.start

    @property
    def size(self) -> int:
        """Bytes held from the unit's first one on."""
        return len(self.data) - self.start

    def fill(self) -> bool:
        """Read more (a chunk, and a quarter of what is held); False at the stream's end."""
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
        """Return where `needle` begins at or after `position`, reading on for it; else -1.

        The search ends with the stream, or behind `limit` bytes of the unit.
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
        """Return what `pattern` first matches from `position` on, reading on for it, and where.

        `(b"", -1)` where the stream, or the first `limit` bytes of the unit, hold no match.
        """
        while True:
            match = pattern.search(self.data, self.start + position, self.start + limit)
            if match is not None:
                return match[0], match.start() - self.start
            position = max(position, self.size - LONGEST_TOKEN)
            if self.size >= limit or not self.fill():
                return b"", -1

    def take(self, size: int) -> bytes:
        """Return the first `size` bytes of the unit; the next unit begins behind them."""
        begin = self.start
        self.start = min(begin + size, len(self.data))
        return self.data[begin : self.start]
