"""Which partitions of a running stream stand still: there is something to read, and nothing comes.

Nothing of a stream fails where one reader of several does not go on; so what is committed tells.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from kafka import TopicPartition


@dataclass(slots=True)
class Standstill:
    """Tells of partitions whose committed offset has stayed the same for `patience_seconds`.

    Each is told of once, until it goes on.
    """

    patience_seconds: float
    _moved: dict[TopicPartition, tuple[int, float]] = field(default_factory=dict, init=False)
    _told: set[TopicPartition] = field(default_factory=set, init=False)

    def look(
        self,
        places: Mapping[TopicPartition, int],
        ends: Mapping[TopicPartition, int],
        now: float,
    ) -> list[tuple[TopicPartition, float]]:
        """Return the partitions that stand still since the look before, and for how many seconds.

        :param places: the first offset of each that is not committed
        :param ends: where each ends
        :param now: seconds of a clock that never goes back
        """
        found = []
        for partition, place in places.items():
            known, since = self._moved.get(partition, (-1, now))
            if place != known or place >= ends.get(partition, 0):
                self._moved[partition] = (place, now)
                self._told.discard(partition)
            elif now - since >= self.patience_seconds and partition not in self._told:
                self._told.add(partition)
                found.append((partition, now - since))
        return found
