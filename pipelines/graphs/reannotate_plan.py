"""Plan of a reannotation: the blocks with citations to annotate again, and their counts."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.blocks.keys import BlockKey, file_name, parse_name
from pipelines.blocks.tables import Footer
from pipelines.dead_letters.reprocess import row_options
from pipelines.output.index import citations_footers
from pipelines.output.revising import wanted_rows
from pipelines.output.sql_filter import Condition, Evaluate
from pipelines.output.store import Replacement, Store
from pipelines.output.writer import (
    committed_footer,
    damaged,
    inconsistent_block,
    read_footer,
    replace_block,
)
from pipelines.sources.stored import is_textless


@dataclass(frozen=True, slots=True)
class BlockWork:
    """A block with citations to annotate again.

    `revision` is that of its present rows. At most `max_text_chars` code points of a text are read,
    as when the block was made.
    """

    key: BlockKey
    revision: str
    max_text_chars: int | None


@dataclass(slots=True)
class Work:
    """The blocks, and their citations to annotate again by status and by present checkpoint.

    `textless` counts those that were annotated and have no stored text.
    """

    blocks: list[BlockWork] = field(default_factory=list)
    statuses: Counter[str] = field(default_factory=Counter)
    checkpoints: Counter[str] = field(default_factory=Counter)
    textless: int = 0

    @property
    def citations(self) -> int:
        """How many citations there are in all."""
        return self.statuses.total()


def block_size_of(store: Store) -> int | None:
    """Return the block size of an output; None if it holds no block yet."""
    for name in store.names("citations"):
        footer = read_footer(store, "citations", name)
        if footer is not None:
            return footer.block_size
    return None


def blocks_in(store: Store) -> list[BlockKey]:
    """Return every block with citations in an output, in order."""
    keys = [parse_name(name) for name in store.names("citations")]
    return sorted(key for key in keys if key is not None)


def find_work(
    store: Store,
    condition: Condition,
    checkpoint_id: str,
    blocks: Iterable[BlockKey],
    *,
    recover: bool,
) -> Work:
    """Return the blocks with citations that match a condition and are not by `checkpoint_id`.

    With `recover`, an interrupted replacement of such a block is first rolled forward or back.

    :raises SettingsError: if the condition cannot be evaluated on a row.
    :raises OutputError: if a file is damaged, or (with `recover`) a block's files are
        inconsistent.
    """
    work = Work()
    with condition.evaluating() as evaluate:
        for key in blocks:
            found = _find_block_work(store, key, condition, evaluate, checkpoint_id)
            if found.blocks and recover and committed_footer(store, key) is None:
                _recover(store, key)
                found = _find_block_work(store, key, condition, evaluate, checkpoint_id)
            work.blocks += found.blocks
            work.statuses += found.statuses
            work.checkpoints += found.checkpoints
            work.textless += found.textless
    return work


def count_written(
    store: Store, blocks: Sequence[BlockWork], each: Callable[[], object] = lambda: None
) -> int:
    """Return how many of `blocks` have another revision now; `each` is called for each block."""
    now = citations_footers(store, [block.key for block in blocks], each)
    return sum(block.key in now and now[block.key].revision != block.revision for block in blocks)


def limit_of(footer: Footer) -> int | None:
    """Return the maximum code points read of a block's texts; None if all were read.

    If its rows were made with several settings, there is no maximum.
    """
    return row_options(footer.settings).max_text_chars


def _recover(store: Store, key: BlockKey) -> None:
    """Roll an interrupted replacement of a block forward or back.

    :raises OutputError: if its files are still inconsistent, and no other writer holds it.
    """

    def check(replacement: Replacement) -> None:
        if committed_footer(store, key) is None:
            replacement.check()
            raise inconsistent_block(key)

    replace_block(store, key, check)


def _find_block_work(
    store: Store, key: BlockKey, condition: Condition, evaluate: Evaluate, checkpoint_id: str
) -> Work:
    """Return the work of one block, which is empty if nothing in it matches."""
    name = file_name(key)
    stream = store.open("citations", name)
    if stream is None:
        return Work()
    with closing(stream):
        try:
            file = pq.ParquetFile(stream)
            footer = Footer.from_metadata(file.metadata.metadata)
            rows = file.read(columns=list(condition.columns))
            if footer is None or rows.num_rows == 0:
                return Work()
            mask = wanted_rows(rows, evaluate, checkpoint_id)
            if not pc.any(mask).as_py():
                return Work()
            rows = file.read(columns=["status", "checkpoint_id", "text"]).filter(mask)
        except (pa.ArrowException, OSError, ValueError, KeyError) as error:
            raise damaged("citations", name, error) from error
    return Work(
        blocks=[BlockWork(key, footer.revision, limit_of(footer))],
        statuses=Counter(rows["status"].to_pylist()),
        checkpoints=Counter(rows["checkpoint_id"].to_pylist()),
        textless=pc.sum(is_textless(rows)).as_py() or 0,
    )
