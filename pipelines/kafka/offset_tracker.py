"""How far a partition is in place: the contiguous prefix of what was covered."""

import json
from dataclasses import dataclass

from pipelines.blocks.intervals import Intervals, union


@dataclass(frozen=True, slots=True)
class Progress:
    """All offsets before `prefix` are in place, and so are the `pending` stretches behind it.

    `committed` is the last prefix that the consumer group was told, -1 for none.
    """

    prefix: int
    pending: Intervals = ()
    committed: int = -1

    def cover(self, begin: int, end: int) -> "Progress":
        """Return the progress once `begin` to before `end` is in place too."""
        prefix = self.prefix
        pending = []
        for interval in union([*self.pending, (begin, end)]):
            if interval[0] <= prefix:
                prefix = max(prefix, interval[1])
            else:
                pending.append(interval)
        return Progress(prefix, tuple(pending), self.committed)

    def to_json(self) -> str:
        """Return the progress as one line."""
        return json.dumps([self.prefix, self.committed, self.pending])

    @classmethod
    def from_json(cls, text: str) -> "Progress":
        """Return the progress that `to_json` wrote."""
        prefix, committed, pending = json.loads(text)
        return cls(prefix, tuple((begin, end) for begin, end in pending), committed)
