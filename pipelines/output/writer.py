"""The writer of a block: merges with what is in place and puts three files there, citations last.

Batch and stream share it. A block's file names come from the block alone, so a replay overwrites;
by offset the writer keeps what is in place and puts what is new over it, so a block never shrinks
while its source stays the same.
"""

import io
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, BinaryIO, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.blocks.elements import AnnotatedBlock, WrittenBlock
from pipelines.blocks.intervals import Intervals, contains, union
from pipelines.blocks.keys import BlockKey, file_name, name_prefix, parse_name
from pipelines.blocks.merging import merge, only, record_count, without
from pipelines.blocks.tables import (
    Footer,
    Tables,
    block_tables,
    footer_in,
    in_newest_format,
    revision_of,
)
from pipelines.output.store import Replacement, Store
from schemas.arrow import KINDS
from schemas.errors import ConflictError, OutputError
from worker.readers.formats import READER_VERSION

ATTEMPTS = 100
"""How often a block is merged anew where other writers of it are always faster."""
T = TypeVar("T")
Opener = Callable[[str], BinaryIO | None]
"""Opens a block's file of a kind; None where there is none."""


@dataclass(frozen=True, slots=True)
class InPlace:
    """A block that lies in the output: its footer and its rows.

    `whole` says that its three files were put in place together.
    """

    footer: Footer
    tables: Tables
    whole: bool


@dataclass(frozen=True, slots=True)
class BlockWriter:
    """Writes blocks of `block_size` offsets to a store.

    `settings` names the settings that shape the rows, for the footers. With `store_text` off, the
    citations' texts are left out. With `merges` on, as a stream needs it, whatever is given is
    merged with what is in place by offset, and nothing is ever replaced as a whole.
    """

    store: Store
    block_size: int
    settings: str
    store_text: bool = True
    merges: bool = False

    def write(self, block: AnnotatedBlock) -> WrittenBlock:
        """Put `block` in place and return what its files then hold.

        In batch a complete block replaces one that was made from another content of its source,
        with another checkpoint or settings, or by another version of the readers. Any other is
        merged by offset: new rows go over those in place, except that a dead letter never goes over
        a citation.

        :raises OutputError: if the store fails, or a part of another content would be merged in.
        """
        tables = block_tables(block, store_text=self.store_text)
        return replace_block(
            self.store, block.header.key, lambda place: self._write(block, tables, place)
        )

    def _write(self, block: AnnotatedBlock, new: Tables, place: Replacement) -> WrittenBlock:
        if not self.merges and self._replaces_all(block, place):
            in_place = None  # whose rows, which may be many, are not needed
        else:
            in_place = read_files(place.open, block.header.key)
        if in_place is not None and not in_place.whole:
            place.check()
        tables, footer = self._merged(block, new, in_place)
        footer = replace(footer, revision=revision_of(tables))
        if footer.last:
            self.remove_behind(block.header.key)
        if in_place is None or not in_place.whole or footer != in_place.footer:
            place.replace(to_files(tables, footer))
        return WrittenBlock(
            block.header,
            citations=tables["citations"].num_rows,
            mentions=tables["mentions"].num_rows,
            dead_letters=tables["dead_letters"].num_rows,
        )

    def _replaces_all(self, block: AnnotatedBlock, place: Replacement) -> bool:
        """Whether `block` replaces all that is in place, if there is anything.

        :raises OutputError: if it would, and may not.
        """
        standing = read_footers(place.open, block.header.key)
        if standing is None:
            return False
        replaces = block.header.complete and (
            block.header.input_digest,
            block.checkpoint_id,
            self.settings,
            READER_VERSION,
        ) != (
            standing.footer.input_digest,
            standing.footer.checkpoint_id,
            standing.footer.settings,
            standing.footer.reader_version,
        )
        if replaces:
            check_replaceable(standing.footer)
        return replaces

    def _merged(
        self, block: AnnotatedBlock, new: Tables, in_place: InPlace | None
    ) -> tuple[Tables, Footer]:
        """Return the rows of the block as it will be, and its footer without the revision."""
        footer = Footer(
            key=block.header.key,
            block_size=self.block_size,
            input_digest=block.header.input_digest,
            checkpoint_id=block.checkpoint_id,
            settings=self.settings,
            records=record_count(new),
            complete=block.header.complete,
            last=block.header.last,
            covered=_coverage(block, new) if self.merges else (),
        )
        if in_place is not None:
            self._check_mergeable(footer, in_place)
            new = merge(in_place.tables, new)
            footer = self._merged_footer(footer, in_place.footer, new)
        grid = (block.header.key.start, block.header.key.start + self.block_size)
        return new, replace(footer, complete=footer.complete or contains(footer.covered, grid))

    def _merged_footer(self, new: Footer, old: Footer, tables: Tables) -> Footer:
        footer = replace(
            new,
            records=record_count(tables),
            complete=new.complete or old.complete,
            last=new.last or old.last,
            covered=union((*new.covered, *old.covered)),
            reader_version=min(new.reader_version, old.reader_version),
        )
        if not self.merges:
            return footer
        checkpoints = set(tables["citations"]["checkpoint_id"].unique().to_pylist())
        return replace(
            footer,
            checkpoint_id=SEVERAL if checkpoints - {new.checkpoint_id} else new.checkpoint_id,
            settings=SEVERAL if new.settings != old.settings else new.settings,
        )

    def _check_mergeable(self, new: Footer, in_place: InPlace) -> None:
        old = in_place.footer
        if new.input_digest != old.input_digest:
            raise OutputError(
                f"{file_name(new.key)}: the output was made from another content of "
                f"{new.key.source!r} ({_short(old.input_digest)}, now {_short(new.input_digest)}), "
                "and only a part of the block is here to replace it; use another output folder"
            )
        if new.block_size != old.block_size:
            raise OutputError(
                f"{file_name(new.key)} has blocks of {old.block_size} offsets, expected "
                f"{new.block_size}; use another output folder"
            )
        if self.merges and not in_place.whole:
            raise torn(new.key)

    def remove_behind(self, key: BlockKey) -> None:
        """Remove the blocks behind the last one of a source, citations first."""
        for kind in reversed(KINDS):
            for name in self.store.names(kind, name_prefix(key.source, key.partition)):
                other = parse_name(name)
                if (
                    other is not None
                    and (other.source, other.partition) == (key.source, key.partition)
                    and other.start > key.start
                ):
                    footer = read_footer(self.store, kind, name)
                    if footer is not None:
                        check_replaceable(footer)
                    self.store.remove(kind, name)


def replace_block(store: Store, key: BlockKey, attempt: Callable[[Replacement], T]) -> T:
    """Hold the block `key` and return what `attempt` does with it; again after each conflict.

    :raises OutputError: if the store fails, or other writers are faster all the time.
    """
    for _ in range(ATTEMPTS):
        with store.replacing(key) as place:
            try:
                return attempt(place)
            except ConflictError:
                continue
    raise OutputError(
        f"{file_name(key)}: other writers replaced the block {ATTEMPTS} times while it was "
        "merged; let one run at a time write to this output"
    )


def torn(key: BlockKey) -> OutputError:
    """Return the error of a block whose files were not put in place together."""
    return OutputError(
        f"{file_name(key)}: the block's files in {', '.join(KINDS)} do not belong together (one "
        "was removed or changed by hand); put back what was there, or remove all three and read "
        "the block's positions again"
    )


SEVERAL = "several"
"""Stands for the checkpoint, or the settings, of rows that were not all made by the same."""


def _short(digest: str) -> str:
    """Return a SHA-256 cut to what tells it from others; a topic's id, which is short, whole."""
    return f"{digest[:12]}…" if len(digest) == 64 else digest


def check_replaceable(old: Footer) -> None:
    """Make sure that a block in place may be replaced by one of a file.

    :raises OutputError: if its rows come from a topic.
    """
    if old.covered:
        raise OutputError(
            f"{file_name(old.key)} holds rows of a topic named {old.key.source!r}, and this run "
            "would replace them by those of a file of that name; choose another --output"
        )


def _coverage(block: AnnotatedBlock, tables: Tables) -> Intervals:
    """Return the offsets that were read for `block`; where it does not say, those of its rows."""
    if block.header.coverage is not None:
        return union([block.header.coverage])
    columns = [tables[kind]["offset"].to_pylist() for kind in ("citations", "dead_letters")]
    return union((offset, offset + 1) for offset in chain(*columns))


def to_files(tables: Tables, footer: Footer) -> dict[str, bytes]:
    """Return a block's three files, by kind."""
    return {kind: _to_parquet(tables[kind], footer) for kind in KINDS}


def _to_parquet(table: pa.Table, footer: Footer) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table.replace_schema_metadata(footer.to_metadata()), sink, compression="zstd")
    return sink.getvalue()


def read_footer(store: Store, kind: str, name: str) -> Footer | None:
    """Return the footer of a file in place; None where there is none, or pubner did not write it.

    :raises OutputError: if the file is damaged.
    """
    stream = store.open(kind, name)
    return None if stream is None else _footer(stream, kind, name)


def _footer(stream: BinaryIO, kind: str, name: str) -> Footer | None:
    with stream:
        try:
            return footer_in(stream)
        except (pa.ArrowException, OSError) as error:
            raise damaged(kind, name, error) from error


def committed_blocks(
    store: Store, source: str, each: Callable[[], object] = lambda: None, *, partition: int = 0
) -> dict[int, Footer]:
    """Return the footers of a source's blocks whose three files belong together, by block start.

    `each` is called for each block.
    """
    found: dict[int, Footer] = {}
    for name in store.names("citations", name_prefix(source, partition)):
        key = parse_name(name)
        if key is None or (key.source, key.partition) != (source, partition):
            continue
        footer = committed_footer(store, key)
        if footer is not None:
            found[key.start] = footer
        each()
    return found


def committed_footer(store: Store, key: BlockKey) -> Footer | None:
    """Return the footer of a block; None where its three files do not belong together."""
    name = file_name(key)
    *others, citations = [read_footer(store, kind, name) for kind in KINDS]
    if citations is None:
        return None
    whole = all(other is not None and other.revision == citations.revision for other in others)
    return citations if whole else None


@dataclass(frozen=True, slots=True)
class Standing:
    """The footer of a block's commit record, and whether its three files belong together."""

    footer: Footer
    whole: bool


def read_footers(open_file: Opener, key: BlockKey) -> Standing | None:
    """Return what the footers of a block say; None where its commit record is not in place.

    :raises OutputError: if a file is damaged.
    """
    name = file_name(key)
    found = {kind: open_file(kind) for kind in KINDS}
    footers = {
        kind: None if stream is None else _footer(stream, kind, name)
        for kind, stream in found.items()
    }
    footer = footers["citations"]
    if footer is None:
        return None
    whole = all(x is not None and x.revision == footer.revision for x in footers.values())
    return Standing(footer, whole)


def read_block(store: Store, key: BlockKey) -> InPlace | None:
    """Return a block that is in place; None where its commit record, the citations, is not.

    Where its files were not put in place together, the rows of the commit record count.
    """
    name = file_name(key)
    return read_files(lambda kind: store.open(kind, name), key)


def read_pmids(store: Store, key: BlockKey) -> dict[int, int]:
    """Return the PMID of each citation of a block in place, by its offset."""
    found = read_block(store, key)
    if found is None:
        return {}
    citations = found.tables["citations"]
    offsets, pmids = citations["offset"].to_pylist(), citations["pmid"].to_pylist()
    return dict(zip(offsets, pmids, strict=True))


def read_files(open_file: Opener, key: BlockKey) -> InPlace | None:
    """Return the block whose files `open_file` opens, as `read_block` does."""
    name = file_name(key)
    footers: dict[str, Footer | None] = {}
    tables: dict[str, pa.Table] = {}
    for kind in reversed(KINDS):
        stream = open_file(kind)
        footers[kind] = None
        tables[kind] = KINDS[kind].empty_table()
        if stream is not None:
            with stream:
                footers[kind], tables[kind] = _read(stream, kind, name)
        if footers["citations"] is None:
            return None
    footer = footers["citations"]
    if footer is None:
        return None
    whole = all(x is not None and x.revision == footer.revision for x in footers.values())
    if not whole:
        committed = tables["citations"]["offset"]
        tables["mentions"] = only(tables["mentions"], committed)
        tables["dead_letters"] = without(tables["dead_letters"], committed)
    return InPlace(footer, tables, whole)


def _read(stream: BinaryIO, kind: str, name: str) -> tuple[Footer | None, pa.Table]:
    try:
        file = pq.ParquetFile(stream)
        table: Any = file.read()
        footer = Footer.from_metadata(file.metadata.metadata)
        return footer, in_newest_format(kind, table)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise damaged(kind, name, error) from error


def damaged(kind: str, name: str, error: Exception) -> OutputError:
    """Return the error of a file of the output that is no whole Parquet file of its kind."""
    return OutputError(
        f"{kind}/{name} in the output is damaged ({error}); remove it, and give the command again "
        "to make it anew"
    )
