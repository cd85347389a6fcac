"""A Kafka log in memory with the part of kafka-python's consumer that the source uses.

Offsets without a message stand for what a consumer never sees: aborted transactions and markers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from kafka import TopicPartition
from kafka.errors import OffsetOutOfRangeError

from pipelines.kafka.batches import RawRecord


@dataclass
class Log:
    """One partition: its messages by offset, where it begins, and where it ends."""

    messages: dict[int, RawRecord] = field(default_factory=dict)
    start: int = 0
    end: int = 0

    def append(self, count: int = 1, *, timestamp: int = 1_000) -> None:
        """Add messages at the end."""
        for offset in range(self.end, self.end + count):
            self.messages[offset] = RawRecord(offset, timestamp, None, b"{}", ())
        self.end += count

    def skip(self, count: int) -> None:
        """Add offsets that no consumer sees."""
        self.end += count

    def remove_before(self, offset: int) -> None:
        """Remove what retention removes."""
        self.start = offset
        for gone in [x for x in self.messages if x < offset]:
            del self.messages[gone]


@dataclass
class LogConsumer:
    """A consumer of `logs`, with the offsets that its group `committed`."""

    logs: dict[TopicPartition, Log]
    committed_at: dict[TopicPartition, int] = field(default_factory=dict)
    positions: dict[TopicPartition, int] = field(default_factory=dict)
    closed: bool = False
    identities: dict[str, str] = field(default_factory=lambda: {"t": "kafka:c:t"})

    def partitions_for_topic(self, topic: str) -> set[int]:
        return {x.partition for x in self.logs if x.topic == topic}

    def identify(self, topics: Sequence[str]) -> dict[str, str]:
        return {x: self.identities[x] for x in topics if x in self.identities}

    def assign(self, partitions: Sequence[TopicPartition]) -> None:
        self.positions = {x: self.positions.get(x, -1) for x in partitions}

    def assignment(self) -> set[TopicPartition]:
        return set(self.positions)

    def seek(self, partition: TopicPartition, offset: int) -> None:
        assert partition in self.positions
        self.positions[partition] = offset

    def position(self, partition: TopicPartition, timeout_ms: int | None = None) -> int:
        return self.positions[partition]

    def committed(self, partition: TopicPartition) -> int | None:
        return self.committed_at.get(partition)

    def beginning_offsets(
        self, partitions: Sequence[TopicPartition]
    ) -> Mapping[TopicPartition, int]:
        return {x: self.logs[x].start for x in partitions}

    def end_offsets(self, partitions: Sequence[TopicPartition]) -> Mapping[TopicPartition, int]:
        return {x: self.logs[x].end for x in partitions}

    def highwater(self, partition: TopicPartition) -> int:
        return self.logs[partition].end

    def poll(
        self, timeout_ms: int = 0, max_records: int = 500
    ) -> Mapping[TopicPartition, Sequence[RawRecord]]:
        polled = {}
        for partition, position in self.positions.items():
            log = self.logs[partition]
            if not log.start <= position <= log.end:
                raise OffsetOutOfRangeError({partition: position})
            found = [log.messages[x] for x in range(position, log.end) if x in log.messages]
            found = found[:max_records]
            whole = not found or len(found) < max_records
            self.positions[partition] = log.end if whole else found[-1].offset + 1
            if found:
                polled[partition] = found
        return polled

    def close(self) -> None:
        self.closed = True
