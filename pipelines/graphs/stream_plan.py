"""What a stream has to do: which topics, from where, up to where, and what is in place already."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from kafka import TopicPartition

from pipelines.blocks.elements import BlockHeader, WrittenBlock
from pipelines.blocks.intervals import contains
from pipelines.blocks.keys import BlockKey, block_start, file_name
from pipelines.kafka.access import KafkaAccess, consumer
from pipelines.kafka.errors import reporting
from pipelines.kafka.ranges import OffsetRange, ranges_to_read
from pipelines.kafka.source import first_place
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
    """The topics of a stream: what each is, by its name, and their partitions."""

    digests: Mapping[str, str]
    partitions: tuple[TopicPartition, ...]


@dataclass(frozen=True, slots=True)
class Positions:
    """How far a group is and how far the topics go, by partition."""

    places: Mapping[TopicPartition, int]
    ends: Mapping[TopicPartition, int]

    @property
    def lag(self) -> int:
        """How many offsets lie between."""
        return sum(max(0, self.ends[x] - place) for x, place in self.places.items())


def find_topics(access: KafkaAccess, names: Iterable[str]) -> Topics:
    """Return what the topics are.

    :raises PubnerError: if the broker does not answer or a topic is not there.
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
    """Return where a run of `group` begins, and where the topics end now."""
    client = consumer(access, group=group, read_committed=read_committed)
    partitions = list(topics.partitions)
    try:
        with reporting(access, f"read the offsets of group {group!r}"):
            committed = committed_offsets(client, partitions)
            first = begin_offsets(client, partitions)
            ends = end_offsets(client, partitions)
    finally:
        client.close()
    places = {}
    for partition in partitions:
        offset = committed.get(partition)
        if offset is not None and offset >= ends[partition]:
            places[partition] = offset
        else:
            places[partition] = first_place(offset, first[partition], block_size)
    return Positions(places, ends)


def plan_ranges(positions: Positions, topics: Topics, *, block_size: int) -> list[OffsetRange]:
    """Return what is to be read, block by block."""
    return ranges_to_read(positions.places, positions.ends, topics.digests, block_size=block_size)


def with_bases(ranges: Sequence[OffsetRange]) -> list[OffsetRange]:
    """Return ranges that one pipeline reads, each with where it begins to read the partition."""
    bases: dict[tuple[str, int], int] = {}
    for wanted in ranges:
        place = (wanted.topic, wanted.partition)
        bases[place] = min(bases.get(place, wanted.begin), wanted.begin)
    return [replace(x, base=bases[(x.topic, x.partition)]) for x in ranges]


def find_in_place(
    store: Store, wanted: OffsetRange, *, block_size: int, checkpoint_id: str, settings: str
) -> WrittenBlock | None:
    """Return the note of a range that an earlier run put in place and did not commit.

    None where it is not in place whole, or by another checkpoint or other settings.
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
