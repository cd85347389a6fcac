"""Finds the dead letters that an interrupted replay has sent, by reading the topic."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from kafka import TopicPartition

from pipelines.dead_letters.ledger import Replay
from pipelines.kafka.access import KafkaAccess, consumer
from pipelines.kafka.errors import reporting
from pipelines.kafka.topics import begin_offsets, end_offsets
from schemas.errors import BrokerError

if TYPE_CHECKING:
    from kafka import KafkaConsumer

REPLAYED_FROM = "pubner-replayed-from"
"""The header with the position of the dead letter from which a message was made."""
REPLAY_ID = "pubner-replay"
"""The header with the id of the replay that sent a message."""
_POLL_MS = 500


def sent_positions(access: KafkaAccess, replay: Replay, partitions: Iterable[int]) -> set[str]:
    """Return the positions, as text, of the dead letters of `replay` that the topic holds.

    Only messages after the replay's end offsets are read, and partitions created since. Messages
    that retention or compaction has removed since are not found, and are sent again: nothing is
    lost, and the topic holds no duplicate.

    :raises BrokerError: if the topic cannot be read.
    """
    wanted = [TopicPartition(replay.topic, number) for number in partitions]
    client = consumer(access, read_committed=False)
    try:
        with reporting(access, f"read the end of topic {replay.topic!r}"):
            first, ends = begin_offsets(client, wanted), end_offsets(client, wanted)
            found: set[str] = set()
            for partition in wanted:
                begin = max(first[partition], replay.ends.get(partition.partition, 0))
                found |= _read(client, partition, begin, ends[partition], replay.id, access)
            return found
    finally:
        client.close()


def _read(
    client: "KafkaConsumer",
    partition: TopicPartition,
    begin: int,
    end: int,
    replay_id: str,
    access: KafkaAccess,
) -> set[str]:
    if begin >= end:
        return set()
    found: set[str] = set()
    client.assign([partition])
    client.seek(partition, begin)
    position, polls = begin, 0
    while position < end:
        for records in client.poll(timeout_ms=_POLL_MS).values():
            for record in records:
                headers = {name: value or b"" for name, value in record.headers}
                if headers.get(REPLAY_ID) == replay_id.encode():
                    found.add(headers.get(REPLAYED_FROM, b"").decode("utf-8", "replace"))
        before, position = position, client.position(partition)
        polls = polls + 1 if position == before else 0
        if polls * _POLL_MS > 1000 * access.timeout_seconds:
            raise BrokerError(
                f"{access}: topic {partition.topic!r}, partition {partition.partition} returned "
                f"nothing at offset {position} for {access.timeout_seconds:g} s; check the "
                "broker, then run the command again"
            )
    return found
