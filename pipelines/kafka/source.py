"""Unbounded Kafka source: reads partitions, emits slices of blocks, checkpoints positions.

One reader owns the partitions of its split; between two bundles Beam keeps it, with its consumer
and its open slices. A checkpoint mark holds the offset at which each open slice begins, never a
record: records that were read but not emitted are read again.
"""

import json
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from apache_beam.coders import Coder
from apache_beam.io.unbounded_source import CheckpointMark, UnboundedReader, UnboundedSource
from apache_beam.utils.timestamp import MAX_TIMESTAMP, MIN_TIMESTAMP, Timestamp
from kafka import TopicPartition

from pipelines.blocks.keys import block_start
from pipelines.kafka.access import KafkaAccess, consumer
from pipelines.kafka.client import Consumer
from pipelines.kafka.drain import DrainSignal
from pipelines.kafka.errors import reporting
from pipelines.kafka.polling import poll
from pipelines.kafka.retry import retry
from pipelines.kafka.slices import RawSlice, SliceCutter
from pipelines.kafka.topic_identity import TopicGuard
from pipelines.kafka.topics import begin_offsets, committed_offsets
from pipelines.telemetry.metrics import count, gauge
from pipelines.telemetry.run_channel import WorkerChannel

_WAIT_MS = 100
"""Maximum time that one poll waits for messages."""
_READ_SECONDS = 1.0
"""Maximum time that `advance` reads before it returns False, if no slice is complete."""
_DISCOVERY_SECONDS = 20.0
_LAG_SECONDS = 1.0
_MAX_SPLITS = 8
"""Maximum readers of a run: they run in turn, and each reads several partitions."""

PartitionPosition = tuple[int, int, float]
"""The position of a partition: the begin of its next slice, the offset at which this run began to
read it, and the time at which that slice was opened, in seconds since 1970; 0 if it is empty."""


@dataclass(frozen=True, slots=True)
class Reading:
    """The read settings of a run, shared by all readers and safe to send to workers.

    `topics` maps each topic to its `input_digest`; `group` is the consumer group at whose offsets a
    run begins; a slice is emitted at the latest when it is `flush_seconds` old.
    """

    access: KafkaAccess
    topics: Mapping[str, str]
    group: str
    block_size: int
    flush_seconds: float
    read_committed: bool = True


class KafkaCheckpointMark(CheckpointMark):
    """The checkpoint mark of a reader: the position of each partition."""

    def __init__(self, positions: Mapping[TopicPartition, PartitionPosition]) -> None:
        self.positions = dict(positions)


class KafkaCheckpointMarkCoder(Coder):
    """The coder of checkpoint marks: JSON, deterministic."""

    def encode(self, value: KafkaCheckpointMark) -> bytes:
        """Return a checkpoint mark as bytes."""
        rows = sorted([*partition, *position] for partition, position in value.positions.items())
        return json.dumps(rows).encode()

    def decode(self, encoded: bytes) -> KafkaCheckpointMark:
        """Return the checkpoint mark that `encode` wrote."""
        return KafkaCheckpointMark(
            {
                TopicPartition(topic, number): (begin, base, opened)
                for topic, number, begin, base, opened in json.loads(encoded)
            }
        )

    def is_deterministic(self) -> bool:
        """Whether equal marks have equal bytes."""
        return True


@dataclass(frozen=True, slots=True)
class KafkaSource(UnboundedSource):
    """Unbounded source of the messages of some topics, in slices: split `index` of `count`.

    A partition's number and topic determine its split, so a partition that is added while the
    source runs has an owner already.
    """

    reading: Reading
    drain: DrainSignal
    channel: WorkerChannel = WorkerChannel()  # noqa: RUF009 - an immutable instance without a listener
    index: int = 0
    count: int = 1

    def splits_for(self, partitions: int) -> list["KafkaSource"]:
        """Return the source of each split, at most one a partition."""
        count = max(1, min(partitions, _MAX_SPLITS))
        return [replace(self, index=index, count=count) for index in range(count)]

    def split(self, desired_num_splits: int, options: object = None) -> list["KafkaSource"]:  # noqa: ARG002
        """Return the source itself, since `splits_for` has split it already."""
        return [self]

    def create_reader(
        self,
        options: object,  # noqa: ARG002 - Beam's signature
        checkpoint_mark: CheckpointMark | None,
    ) -> "KafkaReader":
        """Return a reader that begins at the mark or, without one, at the group's offsets."""
        positions = (
            checkpoint_mark.positions if isinstance(checkpoint_mark, KafkaCheckpointMark) else {}
        )
        return KafkaReader(self, positions, clock=time.time)

    def get_checkpoint_mark_coder(self) -> Coder:
        """Return the coder of checkpoint marks."""
        return KafkaCheckpointMarkCoder()

    def owns(self, partition: TopicPartition) -> bool:
        """Whether this split reads `partition`."""
        topics = sorted(self.reading.topics)
        return (topics.index(partition.topic) + int(partition.partition)) % self.count == self.index


class KafkaReader(UnboundedReader):
    """Reads the partitions of one split with one consumer.

    Memory is bounded by the consumer's fetch buffers and one open slice a partition. `clock`
    returns seconds since 1970, so that the time at which a slice is due also holds for a reader
    that is restored from the checkpoint mark.
    """

    def __init__(
        self,
        source: KafkaSource,
        positions: Mapping[TopicPartition, PartitionPosition],
        *,
        clock: Callable[[], float],
    ) -> None:
        self._source = source
        self._reading = source.reading
        self._clock = clock
        self._positions = dict(positions)
        self._cutters: dict[TopicPartition, SliceCutter] = {}
        self._ready: deque[RawSlice] = deque()
        self._current: RawSlice | None = None
        self._consumer: Consumer | None = None
        self._discovered = -_DISCOVERY_SECONDS
        self._lag_at = -_LAG_SECONDS
        self._caught_up = False
        self._drained = False
        self._guard = TopicGuard(self._reading.access, self._reading.topics, time.monotonic)
        self._confirmed = False

    def start(self) -> bool:
        """Connect, seek to the partitions' positions, and read the first slice, if there is one."""
        with self._source.channel.watching():
            retry(self._connect, before_again=self.close, sleep=time.sleep)
        return self.advance()

    def _connect(self) -> None:
        self._consumer = consumer(
            self._reading.access,
            group=self._reading.group,
            read_committed=self._reading.read_committed,
        )

    def advance(self) -> bool:
        """Read until a slice is complete or due; return False if there is none now."""
        with self._source.channel.watching():
            self._read_on()
            emitted = bool(self._ready) and self._is_confirmed()
        self._current = self._ready.popleft() if emitted else None
        return self._current is not None

    def _read_on(self) -> None:
        until = self._clock() + _READ_SECONDS
        while not self._ready and not self._drained:
            with reporting(self._reading.access, "read the topics"):
                self._discover()
                self._poll()
            self._flush()
            self._report_lag()
            if self._caught_up or self._clock() >= until:
                return

    def _is_confirmed(self) -> bool:
        """Whether everything read came from the topics that the run began with."""
        if not self._confirmed:
            self._confirmed = self._guard.confirm(self._client())
        return self._confirmed

    def get_current(self) -> RawSlice:
        """Return the slice that was read last."""
        if self._current is None:
            raise LookupError("no slice was read")
        return self._current

    def get_current_timestamp(self) -> Timestamp:
        """Return the timestamp of the slice's oldest message."""
        raw_slice = self.get_current()
        return _timestamp(raw_slice.timestamp) if raw_slice.timestamp >= 0 else self._now()

    def get_watermark(self) -> Timestamp:
        """Return the timestamp of the oldest message read but not emitted, or of the current slice.

        Partitions without new messages do not hold it back; at the end of all, it is the time now.
        """
        if self._drained and not self._ready:
            return MAX_TIMESTAMP
        waiting = [raw_slice.timestamp for raw_slice in self._ready if raw_slice.timestamp >= 0]
        waiting += [x.oldest for x in self._cutters.values() if x.oldest is not None]
        if waiting:
            return _timestamp(min(waiting))
        if self._caught_up:
            return self._now()
        if self._current is not None and self._current.timestamp >= 0:
            return _timestamp(self._current.timestamp)
        return MIN_TIMESTAMP

    def get_checkpoint_mark(self) -> KafkaCheckpointMark:
        """Return the begin of the first slice that was not emitted, for each partition."""
        positions = dict(self._positions)
        for partition, cutter in self._cutters.items():
            positions[partition] = (cutter.begin, cutter.base, cutter.opened_at or 0.0)
        for raw_slice in reversed(self._ready):
            partition = TopicPartition(raw_slice.header.key.source, raw_slice.header.key.partition)
            positions[partition] = (raw_slice.begin, raw_slice.header.base, positions[partition][2])
        return KafkaCheckpointMark(positions)

    def close(self) -> None:
        """Close the consumer."""
        if self._consumer is not None:
            self._consumer.close()
            self._consumer = None

    def _discover(self) -> None:
        """Assign the partitions of this split that are not read yet."""
        now = self._clock()
        if now - self._discovered < _DISCOVERY_SECONDS:
            return
        self._discovered = now
        client = self._client()
        found = [
            TopicPartition(topic, number)
            for topic in self._reading.topics
            for number in client.partitions_for_topic(topic) or ()
        ]
        new = sorted(x for x in found if self._source.owns(x) and x not in self._cutters)
        if not new:
            return
        positions = self._positions | _first_positions(
            client, [x for x in new if x not in self._positions], self._reading.block_size
        )
        for partition in new:
            begin, base, opened = positions[partition]
            self._cutters[partition] = SliceCutter(
                topic=partition.topic,
                partition=partition.partition,
                block_size=self._reading.block_size,
                input_digest=self._reading.topics[partition.topic],
                base=base,
                begin=begin,
                opened_at=opened or None,
            )
        client.assign(sorted(self._cutters))
        for partition in new:
            client.seek(partition, self._cutters[partition].begin)

    def _poll(self) -> None:
        client = self._client()
        polled = poll(client, timeout_ms=_WAIT_MS, max_records=self._reading.block_size)
        now = self._clock()
        self._caught_up = not polled
        for partition, cutter in self._cutters.items():
            records = polled.get(partition, ())
            position = client.position(partition, timeout_ms=0) if not records else None
            if records or (position is not None and position > cutter.position):
                self._confirmed = False
                self._ready.extend(cutter.add(records, position or records[-1].offset + 1, now))

    def _flush(self) -> None:
        """Close the slices that are due, or all of them if a drain is requested."""
        drain = self._source.drain.requested(self._clock())
        now = self._clock()
        for cutter in self._cutters.values():
            opened = cutter.opened_at
            if opened is not None and (drain or now - opened >= self._reading.flush_seconds):
                self._ready.extend(cutter.flush())
        if drain and not self._drained:
            self._ready.extend(x.last(self._source.drain.token) for x in self._cutters.values())
        self._drained = drain

    def _report_lag(self) -> None:
        now = self._clock()
        if now - self._lag_at < _LAG_SECONDS:
            return
        self._lag_at = now
        client = self._client()
        for partition, cutter in self._cutters.items():
            end = client.highwater(partition)
            if end is not None:
                name = f"consumer_lag.{partition.topic}.{partition.partition}"
                gauge(name, max(0, end - cutter.begin))

    def _client(self) -> Consumer:
        if self._consumer is None:
            raise LookupError("the reader is not started")
        return self._consumer

    @staticmethod
    def _now() -> Timestamp:
        return Timestamp.now()


def _first_positions(
    client: Consumer, partitions: list[TopicPartition], block_size: int
) -> dict[TopicPartition, PartitionPosition]:
    """Return where a run without state begins: at the start of the block of the group's offset."""
    if not partitions:
        return {}
    committed = committed_offsets(client, partitions)
    first = begin_offsets(client, partitions)
    removed = sum(max(0, first[x] - offset) for x, offset in committed.items())
    if removed:
        count("offsets_removed", removed)
    return {x: _first_position(committed.get(x), first[x], block_size) for x in partitions}


def first_offset(committed: int | None, log_start: int, block_size: int) -> int:
    """Return the start of the block of `committed`, but at least the log's start."""
    if committed is None:
        return log_start
    return max(block_start(committed, block_size), log_start)


def _first_position(committed: int | None, log_start: int, block_size: int) -> PartitionPosition:
    begin = first_offset(committed, log_start, block_size)
    return begin, begin, 0.0


def _timestamp(milliseconds: int) -> Timestamp:
    """Return a message's timestamp, at most now: a later watermark could end the source."""
    now = Timestamp.now()
    return Timestamp(micros=min(milliseconds * 1000, now.micros))
