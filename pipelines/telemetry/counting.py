"""Progress of reading the inputs: bytes and records so far, and an estimate of the total."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import BinaryIO, Protocol

_READS = 100
"""Number of reads into which an input is divided, so that progress is known to 1 %."""
_LEAST_READ = 4096


class Report(Protocol):
    """A callback that adds to the counts of a run."""

    def __call__(self, *, input_bytes: int, records: int, bad: int) -> object: ...  # noqa: D102


@dataclass(slots=True)
class CountedStream:
    """A binary stream that reports how many bytes were read, and what was parsed from them.

    Each read returns at most a hundredth of its `size` bytes, so that a small input is not read all
    at once. At the next read it reports the bytes of the previous one and the `records` that were
    parsed since, of which `bad` could not be parsed.
    """

    stream: BinaryIO
    size: int
    report: Report
    records: int = 0
    bad: int = 0
    _given: int = 0

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes, at most `size`; empty at the end."""
        self.flush()
        most = max(_LEAST_READ, self.size // _READS)
        data = self.stream.read(most if size < 0 else min(size, most))
        self._given = len(data)
        return data

    def flush(self) -> None:
        """Report the counts that were not reported yet."""
        if self._given or self.records:
            self.report(input_bytes=self._given, records=self.records, bad=self.bad)
        self._given = self.records = self.bad = 0


def estimated(counts: Mapping[str, int], total_bytes: int) -> int | None:
    """Return an estimate of the citations to annotate in `total_bytes` of input; None if unknown.

    `counts` are the counts reported so far; `records_committed` are those already in the output.
    """
    read, size = counts.get("records", 0), counts.get("input_bytes", 0)
    if not size:
        return None
    records = read * max(1.0, total_bytes / size)
    good = 1 - counts.get("bad", 0) / read if read else 1.0
    return max(0, round((records - counts.get("records_committed", 0)) * good))
