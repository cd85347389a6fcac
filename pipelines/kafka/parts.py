"""Cutting one partition's records into parts of blocks.

A part is what one element of the graph holds: the records of a stretch of offsets that lies in one
block. Which offsets a part covers is told by the consumer's positions, not by its records: aborted
transactions, their markers and compaction leave gaps, and a gap is read as much as a record is.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from pipelines.blocks import BlockKey, block_start

MOST_BYTES = 32 * 2**20
"""A part is closed at that many bytes of values, however few records they are."""


class Record(Protocol):
    """What a part needs of a Kafka message, as kafka-python's `ConsumerRecord` has it.

    `timestamp` is in milliseconds since 1970, by the topic's own setting of producer or broker.
    """

    @property
    def offset(self) -> int: ...  # noqa: D102

    @property
    def timestamp(self) -> int: ...  # noqa: D102

    @property
    def key(self) -> bytes | None: ...  # noqa: D102

    @property
    def value(self) -> bytes | None: ...  # noqa: D102

    @property
    def headers(self) -> Sequence[tuple[str, bytes | None]]: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class RawRecord:
    """One message as it came, `timestamp` in milliseconds since 1970."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]


@dataclass(frozen=True, slots=True)
class RawPart:
    """A stretch of a partition as read: every message of the offsets `begin` to before `end`.

    With records, the stretch lies in the block `key`. Without any it is a gap, and may be longer.
    `base` is the offset at which this run began to read the partition; `input_digest` names the
    topic as the footers do; `timestamp` is that of the oldest record, in milliseconds, or -1.
    `drained`, in a partition's last and empty part, is the token of the request that ends it.
    """

    key: BlockKey
    begin: int
    end: int
    base: int
    input_digest: str
    records: tuple[RawRecord, ...]
    timestamp: int = -1
    drained: str = ""


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

    def add(self, records: Sequence[Record], position: int, now: float) -> Iterator[RawPart]:
        """Take the records that were polled and the position behind them; yield what is complete.

        Records below the current position were taken before, and are passed over.
        """
        for record in records:
            if record.offset < self.position:
                continue
            if record.offset >= self._block_end:
                yield from self._close_through(record.offset)
            value = record.value
            self._records.append(
                RawRecord(
                    record.offset, record.timestamp, record.key, value, _headers(record.headers)
                )
            )
            self.position = record.offset + 1
            self._bytes += len(value) if value is not None else 0
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
        return replace(self._close(self.position), drained=token)

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
            key=BlockKey(self.topic, self.partition, block_start(self.begin, self.block_size)),
            begin=self.begin,
            end=end,
            base=self.base,
            input_digest=self.input_digest,
            records=records,
            timestamp=min((record.timestamp for record in records), default=-1),
        )
        self.begin = end
        self.position = max(self.position, end)
        self.opened_at = None
        self._records, self._bytes = [], 0
        return part


def _headers(headers: Sequence[tuple[str, bytes | None]]) -> tuple[tuple[str, bytes], ...]:
    """Return a message's headers; a null value is kept as no bytes."""
    return tuple((name, value or b"") for name, value in headers)
