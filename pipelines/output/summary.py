"""Row counts of an output, from its files and not from the run."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

COUNTED = {
    "mentions": ("task", "entity_type"),
    "dead_letters": ("stage",),
    "citations": ("status",),
}
"""The columns by which the rows of each kind are counted, in the order of `KINDS`."""


@dataclass(frozen=True, slots=True)
class Counts:
    """Rows by kind: citations by status, mentions by head and type, dead letters by stage."""

    citations: Counter[str] = field(default_factory=Counter)
    mentions: Counter[tuple[str, str]] = field(default_factory=Counter)
    dead_letters: Counter[str] = field(default_factory=Counter)

    @classmethod
    def of(cls, groups: Mapping[str, Mapping[str, Sequence[Any]]]) -> "Counts":
        """Return the counts of a block: `groups` are each kind's columns, grouped and counted."""
        citations, mentions, dead_letters = (
            groups[kind] for kind in ("citations", "mentions", "dead_letters")
        )
        kinds = zip(mentions["task"], mentions["entity_type"], strict=True)
        return cls(
            Counter(dict(zip(citations["status"], citations["count_all"], strict=True))),
            Counter(dict(zip(kinds, mentions["count_all"], strict=True))),
            Counter(dict(zip(dead_letters["stage"], dead_letters["count_all"], strict=True))),
        )

    def add(self, other: "Counts") -> None:
        """Add the rows of `other` to these."""
        self.citations.update(other.citations)
        self.mentions.update(other.mentions)
        self.dead_letters.update(other.dead_letters)

    def mentions_by_head(self) -> dict[str, int]:
        """Return how many mentions each head found."""
        heads: Counter[str] = Counter()
        for (head, _), count in self.mentions.items():
            heads[head] += count
        return dict(sorted(heads.items()))
