"""Finds the messages that an interrupted feed produced after its last saved offsets.

A run that is killed has sent more messages than its saved state records. Their headers name the
records that they hold, so the resumed run finds them in the topic and does not send them twice.
"""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from kafka import TopicPartition

from pipelines.kafka.access import KafkaAccess, consumer
from pipelines.kafka.errors import reporting
from pipelines.kafka.topics import begin_offsets, end_offsets

if TYPE_CHECKING:
    from kafka import KafkaConsumer

SOURCE = "pubner-source"
OFFSET = "pubner-offset"
DIGEST = "pubner-digest"
SCHEMA_HEADER = "pubner-schema-version"
DIGEST_DIGITS = 16
_POLL_MS = 500

Sent = Mapping[tuple[str, str], set[int]]
"""The indices of the records sent, by the file's source name and its digest's first digits."""


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


def sent_since(
    access: KafkaAccess, topic: str, partitions: Iterable[int], ends: Mapping[int, int]
) -> Sent:
    """Return the records sent since `ends`; a partition not among them is read from its start.

    :raises BrokerError: if the topic cannot be read.
    """
    wanted = [TopicPartition(topic, number) for number in partitions]
    client = consumer(access, read_committed=False)
    try:
        with reporting(access, f"read the end of topic {topic!r}"):
            first, last = begin_offsets(client, wanted), end_offsets(client, wanted)
            begin = {x: max(first[x], ends.get(x.partition, 0)) for x in wanted}
            return _read(client, begin, last)
    finally:
        client.close()


def _read(
    client: "KafkaConsumer",
    begin: Mapping[TopicPartition, int],
    end: Mapping[TopicPartition, int],
) -> Sent:
    open_partitions = [x for x in begin if begin[x] < end[x]]
    sent: dict[tuple[str, str], set[int]] = {}
    client.assign(open_partitions)
    for partition in open_partitions:
        client.seek(partition, begin[partition])
    while open_partitions:
        for records in client.poll(timeout_ms=_POLL_MS).values():
            for record in records:
                headers = {name: value or b"" for name, value in record.headers}
                try:
                    source = headers[SOURCE].decode("utf-8")
                    digest = headers[DIGEST].decode("ascii")
                    offset = int(headers[OFFSET])
                except (KeyError, ValueError):
                    continue  # a message of another producer
                sent.setdefault((source, digest), set()).add(offset)
        open_partitions = [x for x in open_partitions if client.position(x) < end[x]]
        client.pause(*(x for x in begin if x not in open_partitions and begin[x] < end[x]))
    return sent
