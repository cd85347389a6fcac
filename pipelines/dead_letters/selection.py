"""Selection of dead letters by a user's criteria, and the text form of positions."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from pipelines.blocks.keys import BlockKey
from schemas.records import DeadLetter, SourcePosition


@dataclass(frozen=True, slots=True)
class Selection:
    """The criteria that dead letters must match; an empty set or None matches all.

    `since` is in UTC.
    """

    sources: frozenset[str] = frozenset()
    stages: frozenset[str] = frozenset()
    error_types: frozenset[str] = frozenset()
    positions: frozenset[SourcePosition] = frozenset()
    since: datetime | None = None

    def may_hold(self, key: BlockKey) -> bool:
        """Whether the block `key` may hold matching dead letters."""
        return (not self.sources or key.source in self.sources) and (
            not self.positions
            or any(
                (x.source, x.partition) == (key.source, key.partition) and x.offset >= key.start
                for x in self.positions
            )
        )

    def matches(self, dead_letter: DeadLetter) -> bool:
        """Whether `dead_letter` matches."""
        return (
            _among(dead_letter.position.source, self.sources)
            and _among(str(dead_letter.stage), self.stages)
            and _among(dead_letter.error_type, self.error_types)
            and (not self.positions or dead_letter.position in self.positions)
            and (self.since is None or dead_letter.seen_at >= self.since)
        )


def _among(value: str, wanted: Iterable[str]) -> bool:
    return not wanted or value in wanted


def parse_position(text: str) -> SourcePosition:
    """Return the position that `text` gives as SOURCE/PARTITION/OFFSET.

    :raises ValueError: if `text` is not of that form.
    """
    parts = text.rsplit("/", 2)
    if len(parts) == 3 and parts[0] and all(_is_number(part) for part in parts[1:]):
        return SourcePosition(parts[0], int(parts[1]), int(parts[2]))
    raise ValueError(f"{text!r} is not a SOURCE/PARTITION/OFFSET such as citations/0/1234")


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 19


def format_position(position: SourcePosition) -> str:
    """Return `position` as `parse_position` reads it."""
    return f"{position.source}/{position.partition}/{position.offset}"
