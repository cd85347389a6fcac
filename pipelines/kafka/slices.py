"""Cutting one partition's records into parts of blocks.

A part is what one element of the graph holds: the records of a stretch of offsets that lies in one
block. Which offsets a part covers is told by the consumer's positions, not by its records: aborted
transactions, their markers and compaction leave gaps, and a gap is read as much as a record is.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from pipelines.blocks.elements import BlockHeader
from pipelines.blocks.keys import BlockKey, block_start
from pipelines.kafka.batches import RawRecord
from pipelines.kafka.client import MOST_BYTES


@dataclass(frozen=True, slots=True)
class RawPart:
    """A stretch of a partition as read: every message of the offsets `begin` to before `end`.

    With records, the stretch lies in the block of the header. Without any it is a gap, and may be
    longer. `timestamp` is that of the oldest record, in milliseconds, or -1. The header's `drained`
    is set in a partition's last and empty part.
    """

    header: BlockHeader
    begin: int
    end: int
    records: tuple[RawRecord, ...]
    timestamp: int = -1


@dataclass(slots=True)
class PartCutter:
    """Collects what is read of one partition and gives it back in parts.

    `begin` is where the open part begins: all before it was given back. `position` is the offset
    that is read next. `opened_at` is when the open part began to hold something, by the clock of
    the caller; None while it holds nothing.
    """

    topic: str
    partition: int
    block_size: int
    input_digest: str
    base: int
    begin: int
    opened_at: float | None = None
    position: int = field(init=False)
    _records: list[RawRecord] = field(default_factory=list, init=False)
    _bytes: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self.position = self.begin

    def add(self, records: Sequence[RawRecord], position: int, now: float) -> Iterator[RawPart]:
        """Take the records that were polled and the position behind them; yield what is complete.

        Records below the current position were taken before, and are passed over.
        """
        for record in records:
            if record.offset < self.position:
                continue
            if record.offset >= self._block_end:
                yield from self._close_through(record.offset)
            self._records.append(record)
            self.position = record.offset + 1
            self._bytes += record.size
            if self._bytes >= MOST_BYTES:
                yield self._close(self.position)
        self.position = max(self.position, position)
        if self.position >= self._block_end:
            yield from self._close_through(self.position)
        if self.opened_at is None and self.position > self.begin:
            self.opened_at = now

    def flush(self) -> Iterator[RawPart]:
        """Yield the open part, if it holds or covers anything."""
        if self.position > self.begin:
            yield self._close(self.position)

    def last(self, token: str) -> RawPart:
        """Return the part that says, behind all others, that the drain `token` is done here."""
        part = self._close(self.position)
        return replace(part, header=replace(part.header, drained=token))

    @property
    def oldest(self) -> int | None:
        """The timestamp of the open part's oldest record, in milliseconds; None without one."""
        return self._records[0].timestamp if self._records else None

    @property
    def _block_end(self) -> int:
        return block_start(self.begin, self.block_size) + self.block_size

    def _close_through(self, offset: int) -> Iterator[RawPart]:
        """Close the open part at its block's end, and a gap from there up to `offset`'s block."""
        if self._records:
            yield self._close(self._block_end)
        start = block_start(offset, self.block_size)
        if start > self.begin:
            yield self._close(start)

    def _close(self, end: int) -> RawPart:
        records = tuple(self._records)
        part = RawPart(
            header=BlockHeader(
                key=BlockKey(self.topic, self.partition, block_start(self.begin, self.block_size)),
                input_digest=self.input_digest,
                base=self.base,
            ),
            begin=self.begin,
            end=end,
            records=records,
            timestamp=min((record.timestamp for record in records), default=-1),
        )
        self.begin = end
        self.position = max(self.position, end)
        self.opened_at = None
        self._records, self._bytes = [], 0
        return part
