"""Detects stalled partitions of a running stream: messages wait, and no offset is committed.

A stream does not fail when one of its readers hangs, so the committed offsets are watched.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from kafka import TopicPartition


@dataclass(slots=True)
class StalledPartitions:
    """The partitions whose committed offset has not changed for `patience_seconds`.

    Each is returned once, until it makes progress again.
    """

    patience_seconds: float
    _moved: dict[TopicPartition, tuple[int, float]] = field(default_factory=dict, init=False)
    _reported: set[TopicPartition] = field(default_factory=set, init=False)

    def observe(
        self,
        committed: Mapping[TopicPartition, int],
        ends: Mapping[TopicPartition, int],
        now: float,
    ) -> list[tuple[TopicPartition, float]]:
        """Return the partitions that are newly stalled, and for how many seconds.

        :param committed: the committed offset of each partition: the next one to read
        :param ends: the end offset of each partition
        :param now: seconds of a monotonic clock
        """
        found = []
        for partition, offset in committed.items():
            known, since = self._moved.get(partition, (-1, now))
            if offset != known or offset >= ends.get(partition, 0):
                self._moved[partition] = (offset, now)
                self._reported.discard(partition)
            elif now - since >= self.patience_seconds and partition not in self._reported:
                self._reported.add(partition)
                found.append((partition, now - since))
        return found
