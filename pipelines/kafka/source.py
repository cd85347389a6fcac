"""The unbounded Kafka source: partitions in, parts of blocks out, positions as checkpoint.

One reader owns the partitions of its share; between two bundles Beam keeps it, with its consumer
and its open parts. What a checkpoint holds is where each open part begins, never a record: what was
read and not given out is read again.
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
from pipelines.kafka.slices import PartCutter, RawPart
from pipelines.kafka.topic_identity import TopicGuard
from pipelines.kafka.topics import begin_offsets, committed_offsets
from pipelines.telemetry.metrics import count, gauge
from pipelines.telemetry.run_channel import WorkerChannel

_WAIT_MS = 100
"""How long one poll waits for messages before the reader says that there are none now."""
_READ_SECONDS = 1.0
"""How long the reader reads on at most before it says so where no part is complete."""
_DISCOVERY_SECONDS = 20.0
_LAG_SECONDS = 1.0
_MOST_SHARES = 8
"""Readers of a run, at most: each takes its turn, and one reads several partitions."""

Place = tuple[int, int, float]
"""Of a partition: where its next part begins, where this run began to read it, and when that part
began to hold something, in seconds since 1970; 0 while it holds nothing."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What every reader of a run needs to know, and a runner may send to a worker.

    `topics` gives each topic's `input_digest`; `group` is the consumer group whose offsets tell
    where to begin; a part is given out when it is `flush_seconds` old.
    """

    access: KafkaAccess
    topics: Mapping[str, str]
    group: str
    block_size: int
    flush_seconds: float
    read_committed: bool = True


class KafkaMark(CheckpointMark):
    """Where each partition's next part begins, and where the run began, by topic and partition."""

    def __init__(self, places: Mapping[TopicPartition, Place]) -> None:
        self.places = dict(places)


class KafkaMarkCoder(Coder):
    """A mark as JSON: the same positions always give the same bytes."""

    def encode(self, value: KafkaMark) -> bytes:
        """Return the bytes of a mark."""
        rows = sorted([*partition, *place] for partition, place in value.places.items())
        return json.dumps(rows).encode()

    def decode(self, encoded: bytes) -> KafkaMark:
        """Return the mark of some bytes."""
        return KafkaMark(
            {
                TopicPartition(topic, number): (begin, base, opened)
                for topic, number, begin, base, opened in json.loads(encoded)
            }
        )

    def is_deterministic(self) -> bool:
        """Whether equal marks give equal bytes."""
        return True


@dataclass(frozen=True, slots=True)
class KafkaSource(UnboundedSource):
    """The messages of some topics as parts of blocks; `index` of `count` shares of them.

    A partition belongs to the share that its number and topic give, so one that is added while the
    source runs has an owner already.
    """

    reading: Reading
    drain: DrainSignal
    channel: WorkerChannel = WorkerChannel()  # noqa: RUF009 - a frozen record that nobody listens to
    index: int = 0
    count: int = 1

    def shares(self, partitions: int) -> list["KafkaSource"]:
        """Return a source for each share of so many partitions."""
        count = max(1, min(partitions, _MOST_SHARES))
        return [replace(self, index=index, count=count) for index in range(count)]

    def split(self, desired_num_splits: int, options: object = None) -> list["KafkaSource"]:  # noqa: ARG002
        """Return the source itself: a share is never split."""
        return [self]

    def create_reader(
        self,
        options: object,  # noqa: ARG002 - Beam's signature
        checkpoint_mark: CheckpointMark | None,
    ) -> "KafkaReader":
        """Return a reader that begins at the mark, or without one at the group's offsets."""
        places = checkpoint_mark.places if isinstance(checkpoint_mark, KafkaMark) else {}
        return KafkaReader(self, places, clock=time.time)

    def get_checkpoint_mark_coder(self) -> Coder:
        """Return the coder of marks."""
        return KafkaMarkCoder()

    def owns(self, partition: TopicPartition) -> bool:
        """Whether this share reads `partition`."""
        topics = sorted(self.reading.topics)
        return (topics.index(partition.topic) + int(partition.partition)) % self.count == self.index


class KafkaReader(UnboundedReader):
    """Reads one share of the partitions with one consumer.

    Memory is bounded by the consumer's fetch buffers and one open part a partition. `clock` gives
    seconds since 1970: when a part is due must hold for whoever reads on in our place.
    """

    def __init__(
        self,
        source: KafkaSource,
        places: Mapping[TopicPartition, Place],
        *,
        clock: Callable[[], float],
    ) -> None:
        self._source = source
        self._reading = source.reading
        self._clock = clock
        self._places = dict(places)
        self._cutters: dict[TopicPartition, PartCutter] = {}
        self._ready: deque[RawPart] = deque()
        self._current: RawPart | None = None
        self._consumer: Consumer | None = None
        self._discovered = -_DISCOVERY_SECONDS
        self._lag_at = -_LAG_SECONDS
        self._caught_up = False
        self._drained = False
        self._guard = TopicGuard(self._reading.access, self._reading.topics, time.monotonic)
        self._confirmed = False

    def start(self) -> bool:
        """Connect, take the partitions' places, and read the first part if there is one."""
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
        """Read on until a part is complete or due; False where there is none now."""
        with self._source.channel.watching():
            self._read_on()
            given_out = bool(self._ready) and self._is_confirmed()
        self._current = self._ready.popleft() if given_out else None
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
        """Whether all that was read came from the topics that the run began with."""
        if not self._confirmed:
            self._confirmed = self._guard.confirm(self._client())
        return self._confirmed

    def get_current(self) -> RawPart:
        """Return the part that was read last."""
        if self._current is None:
            raise LookupError("no part was read")
        return self._current

    def get_current_timestamp(self) -> Timestamp:
        """Return the timestamp of the part's oldest message."""
        part = self.get_current()
        return _timestamp(part.timestamp) if part.timestamp >= 0 else self._now()

    def get_watermark(self) -> Timestamp:
        """Return the oldest message that is read and not given out, or how far the reading is.

        A partition without new messages does not count; once all are read up, it is the time now.
        """
        if self._drained and not self._ready:
            return MAX_TIMESTAMP
        waiting = [part.timestamp for part in self._ready if part.timestamp >= 0]
        waiting += [x.oldest for x in self._cutters.values() if x.oldest is not None]
        if waiting:
            return _timestamp(min(waiting))
        if self._caught_up:
            return self._now()
        if self._current is not None and self._current.timestamp >= 0:
            return _timestamp(self._current.timestamp)
        return MIN_TIMESTAMP

    def get_checkpoint_mark(self) -> KafkaMark:
        """Return where the first part that was not given out begins, for each partition."""
        places = dict(self._places)
        for partition, cutter in self._cutters.items():
            places[partition] = (cutter.begin, cutter.base, cutter.opened_at or 0.0)
        for part in reversed(self._ready):
            partition = TopicPartition(part.header.key.source, part.header.key.partition)
            places[partition] = (part.begin, part.header.base, places[partition][2])
        return KafkaMark(places)

    def close(self) -> None:
        """Close the consumer."""
        if self._consumer is not None:
            self._consumer.close()
            self._consumer = None

    def _discover(self) -> None:
        """Take up the partitions of this share that are not read yet."""
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
        places = self._places | _first_places(
            client, [x for x in new if x not in self._places], self._reading.block_size
        )
        for partition in new:
            begin, base, opened = places[partition]
            self._cutters[partition] = PartCutter(
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
        """Close the parts that are due, all of them where the run is to end."""
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


def _first_places(
    client: Consumer, partitions: list[TopicPartition], block_size: int
) -> dict[TopicPartition, Place]:
    """Return where a run without state begins: at the block that the group's offset lies in."""
    if not partitions:
        return {}
    committed = committed_offsets(client, partitions)
    first = begin_offsets(client, partitions)
    removed = sum(max(0, first[x] - offset) for x, offset in committed.items())
    if removed:
        count("offsets_removed", removed)
    return {x: _place(committed.get(x), first[x], block_size) for x in partitions}


def first_place(committed: int | None, log_start: int, block_size: int) -> int:
    """Return the offset to begin at: the start of the block of `committed`, or the log's start."""
    if committed is None:
        return log_start
    return max(block_start(committed, block_size), log_start)


def _place(committed: int | None, log_start: int, block_size: int) -> Place:
    begin = first_place(committed, log_start, block_size)
    return begin, begin, 0.0


def _timestamp(milliseconds: int) -> Timestamp:
    """Return a message's time; one in the future, which would end the source, is now."""
    now = Timestamp.now()
    return Timestamp(micros=min(milliseconds * 1000, now.micros))
