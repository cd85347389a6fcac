"""A block that comes in pieces, since its records have many bytes, written as one block.

The rows of each piece go to temporary files as they come, so memory holds one piece. With the last
piece the files are given to the store, which puts them in place together, as those of any block; a
run that ends before leaves nothing, and the block is made anew. The pieces of a block follow each
other within one bundle, since one step yields them and the steps behind it are fused.
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
"""Columns of which no smallest and largest value is written."""


class PieceWriter:
    """Writes whole blocks and blocks that come in pieces, each by `writer`'s settings, in batch."""

    def __init__(self, writer: BlockWriter) -> None:
        self.writer = writer
        self._open: _Pieces | None = None

    def write(self, block: AnnotatedBlock) -> WrittenBlock | None:
        """Put a whole block, or one whose last piece this is, in place; None for any other piece.

        :raises OutputError: if the store fails, or a piece does not follow the one before it.
        """
        header = block.header
        if header.piece == 0:
            self.drop()
            if not header.more:
                return self.writer.write(block)
            self._open = _Pieces.begin(self.writer.store, header.key)
        pieces = self._open
        if pieces is None or not pieces.go_on_with(block):
            self.drop()
            raise OutputError(
                f"{file_name(header.key)}: piece {header.piece} of the block did not follow the "
                "one before it; run the command again, with another --runner if this comes again"
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
                lambda place: self._place(pieces, header, footer, place),
            )
        finally:
            self.drop()

    def drop(self) -> None:
        """Let go of the pieces of a block that is not whole."""
        if self._open is not None:
            for kind, file in self._open.files.items():
                with suppress(OSError):  # a full disk, where what is written goes anyway
                    self._open.writers[kind].close()
                file.close()
            self._open = None

    def _place(
        self, pieces: "_Pieces", header: BlockHeader, footer: Footer, place: Replacement
    ) -> WrittenBlock:
        before = read_footers(place.open, footer.key)
        if before is not None:
            check_replaceable(before.footer)
        if footer.last:
            self.writer.remove_behind(footer.key)
        if before is None or not before.whole or before.footer != footer:
            place.replace(pieces.files)
        return WrittenBlock(header, **pieces.rows)


@dataclass(slots=True)
class _Pieces:
    """The pieces of a block so far: `following` is the number of the next."""

    key: BlockKey
    files: dict[str, IO[bytes]]
    writers: dict[str, pq.ParquetWriter]
    following: int = 0
    records: int = 0
    rows: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))
    checkpoints: set[str] = field(default_factory=set)
    revisions: list[str] = field(default_factory=list)

    @classmethod
    def begin(cls, store: Store, key: BlockKey) -> "_Pieces":
        """Begin a block, of which there is nothing yet."""
        files = {kind: store.scratch() for kind in KINDS}
        writers = {
            kind: pq.ParquetWriter(
                files[kind],
                schema,
                compression="zstd",
                # Dictionaries and statistics of large values take several times their memory.
                use_dictionary=False,
                write_statistics=[name for name in schema.names if name not in _UNMEASURED],
            )
            for kind, schema in KINDS.items()
        }
        return cls(key, files, writers)

    def go_on_with(self, block: AnnotatedBlock) -> bool:
        """Whether `block` is the next piece."""
        return (block.header.key, block.header.piece) == (self.key, self.following)

    def add(self, block: AnnotatedBlock, tables: Tables) -> None:
        """Take the next piece, with its rows."""
        self.following += 1
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
        """Write the ends of the block's files."""
        for kind, writer in self.writers.items():
            with reporting("write", file_name(footer.key)):
                writer.add_key_value_metadata(footer.to_metadata())
                writer.close()
                self.files[kind].flush()
