"""Tracker of a partition's written offsets: the contiguous prefix and the ranges after it."""

import json
from dataclasses import dataclass

from pipelines.blocks.intervals import Intervals, union


@dataclass(frozen=True, slots=True)
class Progress:
    """The written offsets: all before `prefix`, and the `pending` offset ranges after it.

    `committed` is the offset last committed to the consumer group, -1 for none.
    """

    prefix: int
    pending: Intervals = ()
    committed: int = -1

    def cover(self, begin: int, end: int) -> "Progress":
        """Return the progress after the offsets `begin` to before `end` are written too."""
        prefix = self.prefix
        pending = []
        for interval in union([*self.pending, (begin, end)]):
            if interval[0] <= prefix:
                prefix = max(prefix, interval[1])
            else:
                pending.append(interval)
        return Progress(prefix, tuple(pending), self.committed)

    def to_json(self) -> str:
        """Return the progress as one line of JSON."""
        return json.dumps([self.prefix, self.committed, self.pending])

    @classmethod
    def from_json(cls, text: str) -> "Progress":
        """Return the progress that `to_json` wrote."""
        prefix, committed, pending = json.loads(text)
        return cls(prefix, tuple((begin, end) for begin, end in pending), committed)
