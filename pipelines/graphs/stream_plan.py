"""Plan of a stream: its topics, the offset ranges to read, and those already written."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from kafka import TopicPartition

from pipelines.blocks.elements import BlockHeader, WrittenBlock
from pipelines.blocks.intervals import contains
from pipelines.blocks.keys import BlockKey, block_start, file_name
from pipelines.kafka.access import KafkaAccess, consumer
from pipelines.kafka.errors import reporting
from pipelines.kafka.ranges import OffsetRange, ranges_to_read
from pipelines.kafka.source import first_offset
from pipelines.kafka.topics import (
    Cluster,
    begin_offsets,
    committed_offsets,
    describe,
    end_offsets,
)
from pipelines.output.store import Store
from pipelines.output.writer import committed_footer


@dataclass(frozen=True, slots=True)
class Topics:
    """The topics of a stream: their input digests, by name, and their partitions."""

    digests: Mapping[str, str]
    partitions: tuple[TopicPartition, ...]


@dataclass(frozen=True, slots=True)
class Positions:
    """The offsets at which a run of a group begins, and the end offsets, by partition."""

    begins: Mapping[TopicPartition, int]
    ends: Mapping[TopicPartition, int]

    @property
    def lag(self) -> int:
        """The number of offsets between begins and ends."""
        return sum(max(0, self.ends[x] - begin) for x, begin in self.begins.items())


def find_topics(access: KafkaAccess, names: Iterable[str]) -> Topics:
    """Look up the topics.

    :raises PubnerError: if the broker does not answer or a topic does not exist.
    """
    cluster: Cluster = describe(access, list(names))
    for name in cluster.topics:
        file_name(BlockKey(name, 0, 0))
    return Topics(
        digests={name: cluster.input_digest(name) for name in cluster.topics},
        partitions=tuple(
            TopicPartition(name, number)
            for name in sorted(cluster.topics)
            for number in cluster.topics[name].partitions
        ),
    )


def find_positions(
    access: KafkaAccess, group: str, topics: Topics, *, block_size: int, read_committed: bool
) -> Positions:
    """Return the offsets at which a run of `group` begins, and the current end offsets."""
    client = consumer(access, group=group, read_committed=read_committed)
    partitions = list(topics.partitions)
    try:
        with reporting(access, f"read the offsets of group {group!r}"):
            committed = committed_offsets(client, partitions)
            first = begin_offsets(client, partitions)
            ends = end_offsets(client, partitions)
    finally:
        client.close()
    begins = {}
    for partition in partitions:
        offset = committed.get(partition)
        if offset is not None and offset >= ends[partition]:
            begins[partition] = offset
        else:
            begins[partition] = first_offset(offset, first[partition], block_size)
    return Positions(begins, ends)


def plan_ranges(positions: Positions, topics: Topics, *, block_size: int) -> list[OffsetRange]:
    """Return the offset ranges to read, block by block."""
    return ranges_to_read(positions.begins, positions.ends, topics.digests, block_size=block_size)


def with_bases(ranges: Sequence[OffsetRange]) -> list[OffsetRange]:
    """Return a pipeline's ranges, each with the first offset that it reads of the partition."""
    bases: dict[tuple[str, int], int] = {}
    for wanted in ranges:
        partition_key = (wanted.topic, wanted.partition)
        bases[partition_key] = min(bases.get(partition_key, wanted.begin), wanted.begin)
    return [replace(x, base=bases[(x.topic, x.partition)]) for x in ranges]


def find_written(
    store: Store, wanted: OffsetRange, *, block_size: int, checkpoint_id: str, settings: str
) -> WrittenBlock | None:
    """Return the acknowledgement of a range that an earlier run wrote but did not commit.

    None unless all of it was written, with the same checkpoint and settings.
    """
    key = BlockKey(wanted.topic, wanted.partition, block_start(wanted.begin, block_size))
    last = committed_footer(store, key)
    if last is None:
        return None
    same = (last.input_digest, last.checkpoint_id, last.settings) == (
        wanted.input_digest,
        checkpoint_id,
        settings,
    )
    if not same or not contains(last.covered, (wanted.begin, wanted.end)):
        return None
    covered = (wanted.begin, wanted.end)
    return WrittenBlock(BlockHeader(key, wanted.input_digest, coverage=covered, base=wanted.base))
