"""What the output holds of some sources: counted from the files in place, never from the run."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import pyarrow.parquet as pq

from pipelines.blocks.keys import BlockKey, file_name
from pipelines.blocks.tables import Footer
from pipelines.output.store import Store
from pipelines.output.writer import committed_blocks

Blocks = Mapping[BlockKey, Footer]
"""Committed blocks and their footers."""


@dataclass(frozen=True, slots=True)
class Counts:
    """Rows by what they are: citations by status, mentions by head and type, letters by stage."""

    citations: Counter[str] = field(default_factory=Counter)
    mentions: Counter[tuple[str, str]] = field(default_factory=Counter)
    dead_letters: Counter[str] = field(default_factory=Counter)

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(
            self.citations + other.citations,
            self.mentions + other.mentions,
            self.dead_letters + other.dead_letters,
        )

    def mentions_by_head(self) -> dict[str, int]:
        """Return how many mentions each head found."""
        heads: Counter[str] = Counter()
        for (head, _), count in self.mentions.items():
            heads[head] += count
        return dict(sorted(heads.items()))


def blocks_of(
    store: Store, sources: Iterable[str], each: Callable[[], object] = lambda: None
) -> dict[BlockKey, Footer]:
    """Return every committed block of `sources`; `each` is called for each block."""
    return {
        footer.key: footer
        for source in sources
        for footer in committed_blocks(store, source, each).values()
    }


def count_rows(store: Store, blocks: Iterable[BlockKey]) -> Counts:
    """Count the rows of `blocks`."""
    counts = Counts()
    for key in blocks:
        name = file_name(key)
        for (status,), count in _count_values(store, "citations", name, ["status"]):
            counts.citations[status] += count
        for (stage,), count in _count_values(store, "dead_letters", name, ["stage"]):
            counts.dead_letters[stage] += count
        for (task, kind), count in _count_values(store, "mentions", name, ["task", "entity_type"]):
            counts.mentions[task, kind] += count
    return counts


def new_blocks(before: Blocks, after: Blocks) -> list[BlockKey]:
    """Return the blocks that were written between two looks."""
    return [
        key
        for key, footer in after.items()
        if key not in before or before[key].revision != footer.revision
    ]


def _count_values(
    store: Store, kind: str, name: str, columns: list[str]
) -> Iterator[tuple[tuple[str, ...], int]]:
    """Yield each combination of values in some columns of a file, and how many rows have it."""
    stream = store.open(kind, name)
    if stream is None:
        return
    with stream:
        table = pq.read_table(stream, columns=columns)
    for row in table.group_by(columns).aggregate([([], "count_all")]).to_pylist():
        yield tuple(row[column] for column in columns), row["count_all"]
