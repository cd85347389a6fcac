"""Replaces rows of a committed block by newer annotations, and keeps everything else."""

import logging
from collections.abc import Sequence
from dataclasses import astuple, dataclass, replace

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.blocks.elements import AnnotatedBlock, WrittenBlock
from pipelines.blocks.merging import only, without
from pipelines.blocks.refusals import refuse_unstorable
from pipelines.blocks.tables import Tables, block_tables, revision_of, sort_rows
from pipelines.output.sql_filter import Condition, Evaluate
from pipelines.output.store import Replacement, Store
from pipelines.output.writer import SEVERAL, inconsistent_block, read_files, replace_block, to_files
from pipelines.telemetry.logs import LOGGER
from schemas.records import DeadLetter

_SAME = ("text_sha256", "status", "pmid", "pmid_version")
"""Columns in which a row must equal the citation that was annotated."""
_TAKEN = ("mention_count", "truncated", "checkpoint_id", "annotated_at")
"""The columns of a citation that an annotation makes."""


@dataclass(frozen=True, slots=True)
class BlockReviser:
    """Replaces the annotations of rows in the output, if `condition` still holds.

    It writes through the same store as `BlockWriter`, with the same protection against other
    writers: a block that changed since it was read is read again, and only rows that still hold the
    annotated text are replaced.
    """

    store: Store
    condition: Condition

    def write(self, block: AnnotatedBlock) -> WrittenBlock:
        """Commit the new annotations of a block; return the row counts of its files.

        A citation that failed keeps its row: the dead letters of `block`, and citations that the
        output cannot store, are left out.

        :raises OutputError: if the store fails, or the block's files are inconsistent.
        """
        block = refuse_unstorable(block, store_text=True)
        _log_failures(block.dead_letters)
        new = block_tables(block, store_text=True)
        return replace_block(
            self.store, block.header.key, lambda replacement: self._revise(block, new, replacement)
        )

    def _revise(self, block: AnnotatedBlock, new: Tables, replacement: Replacement) -> WrittenBlock:
        committed = read_files(replacement.open, block.header.key)
        if committed is None:  # removed since it was read
            return WrittenBlock(block.header)
        if not committed.consistent:
            replacement.check()
            raise inconsistent_block(block.header.key)
        with self.condition.evaluating() as evaluate:
            wanted = wanted_rows(committed.tables["citations"], evaluate, block.checkpoint_id)
        tables = revise(committed.tables, new, wanted)
        if tables is not committed.tables:
            made_by = tables["citations"]["checkpoint_id"].unique().to_pylist()
            footer = replace(
                committed.footer,
                checkpoint_id=made_by[0] if len(made_by) == 1 else SEVERAL,
                revision=revision_of(tables),
            )
            replacement.replace(to_files(tables, footer))
        return WrittenBlock(
            block.header,
            citations=tables["citations"].num_rows,
            mentions=tables["mentions"].num_rows,
            dead_letters=tables["dead_letters"].num_rows,
        )


def wanted_rows(citations: pa.Table, evaluate: Evaluate, checkpoint_id: str) -> pa.BooleanArray:
    """Return, row by row, whether a condition holds and another checkpoint made the row."""
    older = pc.not_equal(citations["checkpoint_id"], checkpoint_id).combine_chunks()
    return pc.and_(evaluate(citations), older)


def revise(old: Tables, new: Tables, wanted: pa.BooleanArray) -> Tables:
    """Return `old` with the annotations of `new` in the rows that are `wanted`.

    `new` are tables with some of the block's citations; a row of `old` is replaced if `new` has one
    at the same offset with the same text. Dead letters of `new` are ignored. If no row is replaced,
    `old` itself is returned.
    """
    citations, found = old["citations"], new["citations"]
    indices = pc.index_in(citations["offset"], value_set=found["offset"].combine_chunks())
    mask = pc.and_(wanted, pc.is_valid(indices))
    for column in _SAME:
        mask = pc.and_(mask, _same(citations[column], found[column].take(indices)))
    if not pc.any(mask).as_py():
        return old
    for column in _TAKEN:
        values = pc.if_else(mask, found[column].take(indices), citations[column])
        index = citations.schema.get_field_index(column)
        citations = citations.set_column(index, citations.schema.field(index), values)
    replaced = citations["offset"].filter(mask)
    mentions = [without(old["mentions"], replaced), only(new["mentions"], replaced)]
    return {
        "mentions": sort_rows("mentions", pa.concat_tables(mentions)),
        "dead_letters": old["dead_letters"],
        "citations": citations,
    }


def _same(one: pa.ChunkedArray, other: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return whether values are equal, or both null."""
    both_null = pc.and_(pc.is_null(one), pc.is_null(other))
    return pc.or_(both_null, pc.fill_null(pc.equal(one, other), False))


def _log_failures(dead_letters: Sequence[DeadLetter]) -> None:
    for dead_letter in dead_letters:
        logging.getLogger(LOGGER).warning(
            "%s keeps its row: %s: %s",
            "/".join(map(str, astuple(dead_letter.position))),
            dead_letter.error_type,
            dead_letter.error,
        )
