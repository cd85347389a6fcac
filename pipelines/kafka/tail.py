"""Reads the end of a topic: the messages that an interrupted run produced after known offsets.

A run that is killed has sent more messages than it has recorded. Their headers name the records
that they hold, so the next run finds them in the topic and does not send them twice.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from kafka import TopicPartition

from pipelines.kafka.access import KafkaAccess, consumer
from pipelines.kafka.errors import reporting
from pipelines.kafka.topics import begin_offsets, end_offsets
from schemas.errors import BrokerError

if TYPE_CHECKING:
    from kafka import KafkaConsumer

_POLL_MS = 500

TailHeaders = Mapping[str, bytes]
"""The headers of a message: the last value of each key, with empty bytes for a null value."""


def topic_ends(access: KafkaAccess, topic: str, partitions: Iterable[int]) -> dict[int, int]:
    """Return the offset after the last message of each partition.

    :raises BrokerError: if the cluster does not answer.
    """
    wanted = [TopicPartition(topic, number) for number in partitions]
    client = consumer(access, read_committed=False)
    try:
        with reporting(access, f"read the offsets of topic {topic!r}"):
            return {x.partition: end for x, end in end_offsets(client, wanted).items()}
    finally:
        client.close()


def headers_since(
    access: KafkaAccess, topic: str, partitions: Iterable[int], ends: Mapping[int, int]
) -> Iterator[TailHeaders]:
    """Yield the headers of the messages after `ends`, up to the end that the topic has now.

    A partition that is not in `ends` is read from its start. Messages that retention or compaction
    has removed since are not found.

    :raises BrokerError: if the topic cannot be read.
    """
    wanted = [TopicPartition(topic, number) for number in partitions]
    client = consumer(access, read_committed=False)
    try:
        with reporting(access, f"read the end of topic {topic!r}"):
            first, last = begin_offsets(client, wanted), end_offsets(client, wanted)
            for partition in wanted:
                begin = max(first[partition], ends.get(partition.partition, 0))
                yield from _read(client, partition, begin, last[partition], access)
    finally:
        client.close()


def _read(
    client: "KafkaConsumer",
    partition: TopicPartition,
    begin: int,
    end: int,
    access: KafkaAccess,
) -> Iterator[TailHeaders]:
    if begin >= end:
        return
    client.assign([partition])
    client.seek(partition, begin)
    position, polls = begin, 0
    while position < end:
        for records in client.poll(timeout_ms=_POLL_MS).values():
            for record in records:
                yield {name: value or b"" for name, value in record.headers}
        before, position = position, client.position(partition)
        polls = polls + 1 if position == before else 0
        if polls * _POLL_MS > 1000 * access.timeout_seconds:
            raise BrokerError(
                f"{access}: topic {partition.topic!r}, partition {partition.partition} returned "
                f"nothing at offset {position} for {access.timeout_seconds:g} s; check the "
                "broker, then run the command again"
            )
