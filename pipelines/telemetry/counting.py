"""How far the reading of inputs is: bytes and records, and how many records there may be in all."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import BinaryIO, Protocol

_READS = 100
"""In about so many reads an input is read, so that what is done of it is known to 1 %."""
_LEAST_READ = 4096


class Report(Protocol):
    """Takes counts to add."""

    def __call__(self, *, input_bytes: int, records: int, bad: int) -> object: ...  # noqa: D102


@dataclass(slots=True)
class CountedStream:
    """An input that reports what was made of what it gave.

    It gives a hundredth of its `size` bytes at a time, so that a small input is not read all at
    once. When it is asked for more, it reports how much it gave before, and the `records` that came
    of it since, of which `bad` gave no citation.
    """

    stream: BinaryIO
    size: int
    report: Report
    records: int = 0
    bad: int = 0
    _given: int = 0

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes, at most `size`; none at the end."""
        self.settle()
        most = max(_LEAST_READ, self.size // _READS)
        data = self.stream.read(most if size < 0 else min(size, most))
        self._given = len(data)
        return data

    def settle(self) -> None:
        """Report what was not reported yet."""
        if self._given or self.records:
            self.report(input_bytes=self._given, records=self.records, bad=self.bad)
        self._given = self.records = self.bad = 0


def estimated(counts: Mapping[str, int], total_bytes: int) -> int | None:
    """Return how many citations are to be made of inputs of `total_bytes`; None if unknown.

    `counts` has what was reported so far: `records_in_place` need not be done again.
    """
    read, size = counts.get("records", 0), counts.get("input_bytes", 0)
    if not size:
        return None
    records = read * max(1.0, total_bytes / size)
    good = 1 - counts.get("bad", 0) / read if read else 1.0
    return max(0, round((records - counts.get("records_in_place", 0)) * good))
