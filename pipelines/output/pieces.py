"""Writes a large block that arrives in pieces as one block.

The rows of each piece are written to temporary files on arrival, so memory holds one piece. With
the last piece the store commits the files together, like those of any block; a run that ends before
leaves nothing, and the block is annotated again. The pieces of a block follow each other within one
bundle, since one step yields them and the steps after it are fused.
"""

import hashlib
from contextlib import suppress
from dataclasses import dataclass, field
from typing import IO

import pyarrow.parquet as pq

from pipelines.blocks.elements import AnnotatedBlock, BlockHeader, WrittenBlock
from pipelines.blocks.keys import BlockKey, file_name
from pipelines.blocks.merging import record_count
from pipelines.blocks.tables import Footer, Tables, block_tables, revision_of
from pipelines.output.store import Replacement, Store, reporting
from pipelines.output.writer import (
    SEVERAL,
    BlockWriter,
    check_replaceable,
    read_footers,
    replace_block,
)
from schemas.arrow import KINDS
from schemas.errors import OutputError

_UNMEASURED = ("text", "payload", "headers")
"""Columns without minimum and maximum statistics."""


class PieceWriter:
    """Writes whole blocks and blocks that arrive in pieces, with `writer`'s settings, in batch."""

    def __init__(self, writer: BlockWriter) -> None:
        self.writer = writer
        self._open: _Pieces | None = None

    def write(self, block: AnnotatedBlock) -> WrittenBlock | None:
        """Commit a whole block, or one whose last piece this is; return None for any other piece.

        :raises OutputError: if the store fails, or a piece does not follow the one before it.
        """
        header = block.header
        if header.piece == 0:
            self.drop()
            if not header.more:
                return self.writer.write(block)
            self._open = _Pieces.begin(self.writer.store, header.key)
        pieces = self._open
        if pieces is None or not pieces.is_next(block):
            self.drop()
            raise OutputError(
                f"{file_name(header.key)}: piece {header.piece} of the block did not follow the "
                "one before it; run the command again, with another --runner if it fails again"
            )
        pieces.add(block, block_tables(block, store_text=self.writer.store_text))
        if header.more:
            return None
        footer = pieces.footer(block, self.writer)
        pieces.finish(footer)
        try:
            return replace_block(
                self.writer.store,
                header.key,
                lambda replacement: self._commit(pieces, header, footer, replacement),
            )
        finally:
            self.drop()

    def drop(self) -> None:
        """Discard the pieces of an incomplete block."""
        if self._open is not None:
            for kind, file in self._open.files.items():
                with suppress(OSError):  # a full disk; the data is discarded anyway
                    self._open.writers[kind].close()
                file.close()
            self._open = None

    def _commit(
        self, pieces: "_Pieces", header: BlockHeader, footer: Footer, replacement: Replacement
    ) -> WrittenBlock:
        before = read_footers(replacement.open, footer.key)
        if before is not None:
            check_replaceable(before.footer)
        if footer.last:
            self.writer.remove_after(footer.key)
        if before is None or not before.consistent or before.footer != footer:
            replacement.replace(pieces.files)
        return WrittenBlock(header, **pieces.rows)


@dataclass(slots=True)
class _Pieces:
    """The pieces of a block so far; `next_piece` is the index that is expected next."""

    key: BlockKey
    files: dict[str, IO[bytes]]
    writers: dict[str, pq.ParquetWriter]
    next_piece: int = 0
    records: int = 0
    rows: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))
    checkpoints: set[str] = field(default_factory=set)
    revisions: list[str] = field(default_factory=list)

    @classmethod
    def begin(cls, store: Store, key: BlockKey) -> "_Pieces":
        """Begin a block without any pieces."""
        files = {kind: store.scratch() for kind in KINDS}
        writers = {
            kind: pq.ParquetWriter(
                files[kind],
                schema,
                compression="zstd",
                # Dictionaries and statistics of large values need several times their memory.
                use_dictionary=False,
                write_statistics=[name for name in schema.names if name not in _UNMEASURED],
            )
            for kind, schema in KINDS.items()
        }
        return cls(key, files, writers)

    def is_next(self, block: AnnotatedBlock) -> bool:
        """Whether `block` is the next piece."""
        return (block.header.key, block.header.piece) == (self.key, self.next_piece)

    def add(self, block: AnnotatedBlock, tables: Tables) -> None:
        """Add the next piece, with its rows."""
        self.next_piece += 1
        self.records += record_count(tables)
        self.checkpoints.add(block.checkpoint_id)
        self.revisions.append(revision_of(tables))
        for kind, table in tables.items():
            self.rows[kind] += table.num_rows
            if table.num_rows:
                with reporting("write", file_name(block.header.key)):
                    self.writers[kind].write_table(table)

    def footer(self, block: AnnotatedBlock, writer: BlockWriter) -> Footer:
        """Return the footer of the whole block, whose last piece is `block`."""
        one = len(self.checkpoints) == 1
        return Footer(
            key=block.header.key,
            block_size=writer.block_size,
            input_digest=block.header.input_digest,
            checkpoint_id=block.checkpoint_id if one else SEVERAL,
            settings=writer.settings,
            records=self.records,
            complete=block.header.complete,
            last=block.header.last,
            revision=hashlib.sha256("".join(self.revisions).encode()).hexdigest()[:32],
        )

    def finish(self, footer: Footer) -> None:
        """Write the Parquet footers of the block's files."""
        for kind, writer in self.writers.items():
            with reporting("write", file_name(footer.key)):
                writer.add_key_value_metadata(footer.to_metadata())
                writer.close()
                self.files[kind].flush()
