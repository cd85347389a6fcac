"""The writer of a block: merges with what is in place and commits three files, citations last.

Batch and stream share it. A block's file names come from the block alone, so a replay overwrites;
by offset the writer keeps what is in place and puts what is new over it, so a block never shrinks
while its source stays the same.
"""

import io
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.blocks import BlockKey, file_name, parse_name
from pipelines.records import AnnotatedBlock, WrittenBlock
from pipelines.store import Staged, Store
from pipelines.tables import Footer, Tables, block_tables, offsets_of, revision_of, sort_rows
from schemas.arrow import KINDS
from schemas.errors import OutputError


@dataclass(frozen=True, slots=True)
class InPlace:
    """A block that lies in the output: its footer and its rows."""

    footer: Footer
    tables: Tables


@dataclass(frozen=True, slots=True)
class BlockWriter:
    """Writes blocks of `block_size` offsets to a store.

    `settings` names the settings that shape the rows, for the footers. With `store_text` off, the
    citations' texts are left out.
    """

    store: Store
    block_size: int
    settings: str
    store_text: bool = True

    def write(self, block: AnnotatedBlock) -> WrittenBlock:
        """Put `block` in place and return what its files then hold.

        A complete block replaces one that was made from another content of its source or with
        another checkpoint or settings. Any other is merged by offset: new rows go over those in
        place, except that a dead letter never goes over a citation.

        :raises OutputError: if the store fails, or a part of another content would be merged in.
        """
        tables: Tables = block_tables(block, store_text=self.store_text)
        footer = Footer(
            key=block.key,
            block_size=self.block_size,
            input_digest=block.input_digest,
            checkpoint_id=block.checkpoint_id,
            settings=self.settings,
            records=len(offsets_of(tables)),
            complete=block.complete,
            last=block.last,
        )
        in_place = read_block(self.store, block.key)
        if in_place is not None and not _replaces(footer, in_place.footer):
            self._check_mergeable(footer, in_place.footer)
            tables = merge(in_place.tables, tables)
            footer = replace(
                footer,
                records=len(offsets_of(tables)),
                complete=footer.complete or in_place.footer.complete,
                last=footer.last or in_place.footer.last,
            )
        if footer.last:
            self._remove_behind(block.key)
        self._commit(tables, replace(footer, revision=revision_of(tables)))
        return WrittenBlock(
            key=block.key,
            citations=tables["citations"].num_rows,
            mentions=tables["mentions"].num_rows,
            dead_letters=tables["dead_letters"].num_rows,
        )

    def _check_mergeable(self, new: Footer, old: Footer) -> None:
        if new.input_digest != old.input_digest:
            raise OutputError(
                f"{file_name(new.key)}: the output was made from another content of "
                f"{new.key.source!r} ({old.input_digest[:12]}…, now {new.input_digest[:12]}…), and "
                "only a part of the block is here to replace it; use another output folder"
            )
        if new.block_size != old.block_size:
            raise OutputError(
                f"{file_name(new.key)} has blocks of {old.block_size} offsets, expected "
                f"{new.block_size}; use another output folder"
            )

    def _remove_behind(self, key: BlockKey) -> None:
        """Remove the blocks behind the last one of a source, citations first."""
        for kind in reversed(KINDS):
            for name in self.store.names(kind):
                other = parse_name(name)
                if (
                    other is not None
                    and (other.source, other.partition) == (key.source, key.partition)
                    and other.start > key.start
                ):
                    self.store.remove(kind, name)

    def _commit(self, tables: Tables, footer: Footer) -> None:
        """Stage all three files, then put them in place in the order of `KINDS`."""
        name = file_name(footer.key)
        staged: list[Staged] = []
        committed = 0
        try:
            staged.extend(
                self.store.stage(kind, name, _to_parquet(kind, tables, footer)) for kind in KINDS
            )
            for file in staged:
                self.store.commit(file)
                committed += 1
        except BaseException:
            for file in staged[committed:]:
                self.store.discard(file)
            raise


def _replaces(new: Footer, old: Footer) -> bool:
    return new.complete and (new.input_digest, new.checkpoint_id, new.settings) != (
        old.input_digest,
        old.checkpoint_id,
        old.settings,
    )


def merge(old: Tables, new: Tables) -> dict[str, pa.Table]:
    """Return the union of two versions of a block by offset; `new` wins, citations over letters."""
    kept_letters = set(new["dead_letters"]["offset"].to_pylist()) - set(
        old["citations"]["offset"].to_pylist()
    )
    arriving = dict(new)
    arriving["dead_letters"] = _only(new["dead_letters"], kept_letters)
    replaced = offsets_of(arriving)
    return {
        kind: sort_rows(kind, pa.concat_tables([_without(old[kind], replaced), arriving[kind]]))
        for kind in KINDS
    }


def _only(table: pa.Table, offsets: set[int]) -> pa.Table:
    return table.filter(pc.is_in(table["offset"], pa.array(sorted(offsets), pa.int64())))


def _without(table: pa.Table, offsets: set[int]) -> pa.Table:
    known = pc.is_in(table["offset"], pa.array(sorted(offsets), pa.int64()))
    return table.filter(pc.invert(known))


def _to_parquet(kind: str, tables: Tables, footer: Footer) -> bytes:
    sink = io.BytesIO()
    table = tables[kind].replace_schema_metadata(footer.to_metadata())
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue()


def read_footer(store: Store, kind: str, name: str) -> Footer | None:
    """Return the footer of a file in place; None where there is none, or pubner did not write it.

    :raises OutputError: if the file is damaged.
    """
    stream = store.open(kind, name)
    if stream is None:
        return None
    with stream:
        try:
            metadata = pq.read_metadata(stream).metadata
        except (pa.ArrowException, OSError) as error:
            raise _damaged(kind, name, error) from error
    return Footer.from_metadata(cast("Mapping[bytes, bytes] | None", metadata))


def committed_blocks(store: Store, source: str, partition: int = 0) -> dict[int, Footer]:
    """Return the footers of a source's blocks whose three files belong together, by block start."""
    found: dict[int, Footer] = {}
    for name in store.names("citations"):
        key = parse_name(name)
        if key is None or (key.source, key.partition) != (source, partition):
            continue
        footers = [read_footer(store, kind, name) for kind in KINDS]
        citations = footers[-1]
        if citations is not None and all(
            footer is not None and footer.revision == citations.revision for footer in footers
        ):
            found[key.start] = citations
    return found


def read_block(store: Store, key: BlockKey) -> InPlace | None:
    """Return a block that is in place; None where its commit record, the citations, is not.

    Where a writer was killed between two of the files, the rows of the commit record count.
    """
    name = file_name(key)
    footer = read_footer(store, "citations", name)
    if footer is None:
        return None
    tables = {kind: _read_table(store, kind, name) for kind in KINDS}
    committed = set(tables["citations"]["offset"].to_pylist())
    tables["mentions"] = _only(tables["mentions"], committed)
    tables["dead_letters"] = _without(tables["dead_letters"], committed)
    return InPlace(footer, tables)


def _read_table(store: Store, kind: str, name: str) -> pa.Table:
    stream = store.open(kind, name)
    if stream is None:
        return KINDS[kind].empty_table()
    with stream:
        try:
            table: Any = pq.read_table(stream, schema=KINDS[kind])
        except (pa.ArrowException, OSError) as error:
            raise _damaged(kind, name, error) from error
    return table.replace_schema_metadata(None)


def _damaged(kind: str, name: str, error: Exception) -> OutputError:
    return OutputError(
        f"{kind}/{name} in the output is damaged ({error}); remove it, and give the command again "
        "to make it anew"
    )
