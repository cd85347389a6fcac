"""Bounded reader: the offsets of a partition up to a fixed end, one block an element."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from kafka import TopicPartition

from pipelines.blocks.keys import block_start
from pipelines.kafka.access import KafkaAccess, consumer
from pipelines.kafka.client import Consumer
from pipelines.kafka.errors import reporting
from pipelines.kafka.polling import poll
from pipelines.kafka.slices import RawSlice, SliceCutter
from pipelines.kafka.topic_identity import TopicGuard
from schemas.errors import InputError

_WAIT_MS = 500


@dataclass(frozen=True, slots=True, order=True)
class OffsetRange:
    """The offsets `begin` to before `end` of a partition, within one block.

    `base` is the offset at which the run begins to read the partition; `input_digest` identifies
    the topic.
    """

    topic: str
    partition: int
    begin: int
    end: int
    base: int
    input_digest: str


def cut_ranges(
    topic: str, partition: int, begin: int, end: int, *, block_size: int, input_digest: str
) -> list[OffsetRange]:
    """Return the offsets `begin` to before `end`, split at the blocks' boundaries."""
    ranges = []
    start = begin
    while start < end:
        stop = min(end, block_start(start, block_size) + block_size)
        ranges.append(OffsetRange(topic, partition, start, stop, begin, input_digest))
        start = stop
    return ranges


class RangeReader:
    """Reads ranges with one consumer, without a seek if a range begins where the last one ended.

    `timeout_seconds` is how long a broker may return nothing before reading fails; `clock` returns
    seconds since any origin.
    """

    def __init__(
        self,
        access: KafkaAccess,
        *,
        block_size: int,
        read_committed: bool,
        timeout_seconds: float,
        clock: Callable[[], float],
    ) -> None:
        self._access = access
        self._block_size = block_size
        self._read_committed = read_committed
        self._timeout_seconds = timeout_seconds
        self._clock = clock
        self._consumer: Consumer | None = None
        self._at: tuple[TopicPartition, int] | None = None

    def read(self, wanted: OffsetRange) -> Iterator[RawSlice]:
        """Yield the slices of one range, which cover all of it.

        :raises InputError: if the broker returns nothing within the timeout, or if the topic is no
            longer the one that the run began with.
        """
        with reporting(self._access, f"read topic {wanted.topic!r}"):
            yield from self._read(wanted)

    def _read(self, wanted: OffsetRange) -> Iterator[RawSlice]:
        partition = TopicPartition(wanted.topic, wanted.partition)
        client = self._open(partition, wanted.begin)
        cutter = SliceCutter(
            topic=wanted.topic,
            partition=wanted.partition,
            block_size=self._block_size,
            input_digest=wanted.input_digest,
            base=wanted.base,
            begin=wanted.begin,
        )
        guard = TopicGuard(self._access, {wanted.topic: wanted.input_digest}, time.monotonic)
        waiting_since = self._clock()
        while cutter.position < wanted.end:
            missing = wanted.end - cutter.position
            polled = poll(client, timeout_ms=_WAIT_MS, max_records=min(missing, self._block_size))
            records = [x for x in polled.get(partition, ()) if x.offset < wanted.end]
            position = min(client.position(partition), wanted.end)
            if position > cutter.position or records:
                waiting_since = self._clock()
            elif self._clock() - waiting_since > self._timeout_seconds:
                raise InputError(
                    f"topic {wanted.topic!r}, partition {wanted.partition}: the broker returned "
                    f"nothing at offset {cutter.position} for {self._timeout_seconds:g} s, and "
                    f"messages up to {wanted.end} were expected; check the broker, then run the "
                    "command again"
                )
            slices = list(cutter.add(records, position, waiting_since))
            if slices:
                guard.wait(lambda: client, time.sleep)
            yield from slices
        slices = list(cutter.flush())
        if slices:
            guard.wait(lambda: client, time.sleep)
        yield from slices
        self._at = (partition, int(client.position(partition)))

    def close(self) -> None:
        """Close the consumer."""
        if self._consumer is not None:
            self._consumer.close()
            self._consumer, self._at = None, None

    def _open(self, partition: TopicPartition, begin: int) -> Consumer:
        if self._consumer is None:
            self._consumer = consumer(self._access, group=None, read_committed=self._read_committed)
        if self._at != (partition, begin):
            self._consumer.assign([partition])
            self._consumer.seek(partition, begin)
        self._at = None
        return self._consumer


def ranges_to_read(
    begins: Mapping[TopicPartition, int],
    ends: Mapping[TopicPartition, int],
    digests: Mapping[str, str],
    *,
    block_size: int,
) -> list[OffsetRange]:
    """Return the ranges from each partition's begin to its end, alternating between partitions.

    A run that is stopped has thus read about as much of each partition.
    """
    lanes = [
        cut_ranges(
            partition.topic,
            partition.partition,
            begins[partition],
            ends[partition],
            block_size=block_size,
            input_digest=digests[partition.topic],
        )
        for partition in sorted(begins)
    ]
    longest = max((len(lane) for lane in lanes), default=0)
    return [lane[row] for row in range(longest) for lane in lanes if row < len(lane)]
