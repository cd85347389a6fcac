"""Slices of blocks, and the cutter that divides one partition's records into them.

A slice is one element of the graph: the records of an offset range within one block. The offsets
that a slice covers follow from the consumer's positions, not from its records: aborted
transactions, control batches and compaction leave gaps, which count as read just like records.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from pipelines.blocks.elements import BlockHeader
from pipelines.blocks.keys import BlockKey, block_start
from pipelines.kafka.batches import RawRecord
from pipelines.kafka.client import MAX_POLL_BYTES


@dataclass(frozen=True, slots=True)
class RawSlice:
    """The undecoded messages of an offset range of a partition: `begin` to before `end`.

    With records, the range lies in the block of the header. Without any, it is a gap, and may be
    longer. `timestamp` is that of the oldest record, in milliseconds, or -1. The header's `drained`
    is set in a partition's last slice, which is empty.
    """

    header: BlockHeader
    begin: int
    end: int
    records: tuple[RawRecord, ...]
    timestamp: int = -1


@dataclass(slots=True)
class SliceCutter:
    """Collects the records read of one partition and emits them in slices.

    `begin` is the first offset of the open slice: everything before it was emitted. `position` is
    the next offset to read. `opened_at` is the time, by the caller's clock, at which the open slice
    began to cover an offset; None while it covers none.
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

    def add(self, records: Sequence[RawRecord], position: int, now: float) -> Iterator[RawSlice]:
        """Add polled records and the position after them; yield the slices that are complete.

        Records below the current position were added before and are skipped.
        """
        for record in records:
            if record.offset < self.position:
                continue
            if record.offset >= self._block_end:
                yield from self._close_through(record.offset)
            self._records.append(record)
            self.position = record.offset + 1
            self._bytes += record.size
            if self._bytes >= MAX_POLL_BYTES:
                yield self._close(self.position)
        self.position = max(self.position, position)
        if self.position >= self._block_end:
            yield from self._close_through(self.position)
        if self.opened_at is None and self.position > self.begin:
            self.opened_at = now

    def flush(self) -> Iterator[RawSlice]:
        """Yield the open slice, if it covers any offset."""
        if self.position > self.begin:
            yield self._close(self.position)

    def last(self, token: str) -> RawSlice:
        """Return the last slice, which marks the partition as drained for the request `token`."""
        raw_slice = self._close(self.position)
        return replace(raw_slice, header=replace(raw_slice.header, drained=token))

    @property
    def oldest(self) -> int | None:
        """The timestamp of the open slice's first record, in milliseconds; None without one."""
        return self._records[0].timestamp if self._records else None

    @property
    def _block_end(self) -> int:
        return block_start(self.begin, self.block_size) + self.block_size

    def _close_through(self, offset: int) -> Iterator[RawSlice]:
        """Close the open slice at its block's end, and a gap from there up to `offset`'s block."""
        if self._records:
            yield self._close(self._block_end)
        start = block_start(offset, self.block_size)
        if start > self.begin:
            yield self._close(start)

    def _close(self, end: int) -> RawSlice:
        records = tuple(self._records)
        raw_slice = RawSlice(
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
        return raw_slice
