"""Parts of one block of a topic, for tests of the writer as a stream uses it."""

from pipelines.blocks.elements import AnnotatedBlock
from pipelines.blocks.keys import BlockKey
from pipelines.output.store import Store
from pipelines.output.writer import BlockWriter
from tests.support.blocks import block, with_header

SIZE = 8
KEY = BlockKey("topic", 0, 0)
DIGEST = "kafka:cluster:topic"


def part(
    begin: int,
    end: int,
    number: int = 1,
    *,
    dead_letters: frozenset[int] = frozenset(),
    gaps: frozenset[int] = frozenset(),
) -> AnnotatedBlock:
    """Return the offsets [begin, end) of a topic, as its `number`-th reading annotates them."""
    offsets = [x for x in range(begin, end) if x not in gaps]
    made = block(
        [x for x in offsets if x not in dead_letters],
        dead_letters=[x for x in offsets if x in dead_letters],
        source=KEY.source,
        digest=DIGEST,
        checkpoint_id=f"c{number}",
        complete=False,
        last=False,
    )
    return with_header(made, coverage=(begin, end), base=begin)


def writer_to(store: Store, *, settings: str = "") -> BlockWriter:
    return BlockWriter(store, SIZE, settings, merges=True)
