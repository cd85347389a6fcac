"""Finds the dead letters that an interrupted replay has sent, by reading the topic."""

from collections.abc import Iterable

from pipelines.dead_letters.ledger import Replay
from pipelines.kafka.access import KafkaAccess
from pipelines.kafka.tail import headers_since

REPLAYED_FROM = "pubner-replayed-from"
"""The header with the position of the dead letter from which a message was made."""
REPLAY_ID = "pubner-replay"
"""The header with the id of the replay that sent a message."""


def sent_positions(access: KafkaAccess, replay: Replay, partitions: Iterable[int]) -> set[str]:
    """Return the positions, as text, of the dead letters of `replay` that the topic holds.

    Only messages after the replay's end offsets are read, and partitions created since. Messages
    that retention or compaction has removed since are not found, and are sent again: nothing is
    lost, and the topic holds no duplicate.

    :raises BrokerError: if the topic cannot be read.
    """
    return {
        headers.get(REPLAYED_FROM, b"").decode("utf-8", "replace")
        for headers in headers_since(access, replay.topic, partitions, replay.ends)
        if headers.get(REPLAY_ID) == replay.id.encode()
    }
