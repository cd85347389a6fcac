"""The writer of blocks: merges new rows with committed ones, writes three files, citations last.

Batch and stream share it. A block's file names depend on the block alone, so a replay overwrites
them. Rows are merged by offset: committed rows are kept unless a new row replaces them, so a block
never shrinks while its source stays the same.
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
"""How often a block is merged again after conflicts with other writers."""
T = TypeVar("T")
Opener = Callable[[str], BinaryIO | None]
"""A function that opens a block's file of a kind; it returns None if there is none."""


@dataclass(frozen=True, slots=True)
class CommittedBlock:
    """A block in the output: its footer and its rows.

    `consistent` means that its three files were committed together.
    """

    footer: Footer
    tables: Tables
    consistent: bool


@dataclass(frozen=True, slots=True)
class BlockWriter:
    """Writes blocks of `block_size` offsets to a store.

    `settings` names the settings that determine the rows, for the footers. Without `store_text`,
    the citations' texts are left out. With `merges`, for streams, new rows are always merged with
    the committed ones by offset, and a block is never replaced as a whole.
    """

    store: Store
    block_size: int
    settings: str
    store_text: bool = True
    merges: bool = False

    def write(self, block: AnnotatedBlock) -> WrittenBlock:
        """Commit `block` and return the row counts of its files.

        In batch a complete block replaces one that was made from another content of its source,
        with another checkpoint or settings, or by another version of the readers. Any other block
        is merged by offset: new rows replace committed ones, except that a dead letter never
        replaces a citation.

        :raises OutputError: if the store fails, or an incomplete block has another content.
        """
        tables = block_tables(block, store_text=self.store_text)
        return replace_block(
            self.store,
            block.header.key,
            lambda replacement: self._write(block, tables, replacement),
        )

    def _write(self, block: AnnotatedBlock, new: Tables, replacement: Replacement) -> WrittenBlock:
        if not self.merges and self._replaces_all(block, replacement):
            committed = None  # its rows, which may be many, are not needed
        else:
            committed = read_files(replacement.open, block.header.key)
        if committed is not None and not committed.consistent:
            replacement.check()
        tables, footer = self._merged(block, new, committed)
        footer = replace(footer, revision=revision_of(tables))
        if footer.last:
            self.remove_after(block.header.key)
        if committed is None or not committed.consistent or footer != committed.footer:
            replacement.replace(to_files(tables, footer))
        return WrittenBlock(
            block.header,
            citations=tables["citations"].num_rows,
            mentions=tables["mentions"].num_rows,
            dead_letters=tables["dead_letters"].num_rows,
        )

    def _replaces_all(self, block: AnnotatedBlock, replacement: Replacement) -> bool:
        """Whether `block` replaces a committed block as a whole; False if there is none.

        :raises OutputError: if it would replace rows of a topic.
        """
        present = read_footers(replacement.open, block.header.key)
        if present is None:
            return False
        replaces = block.header.complete and (
            block.header.input_digest,
            block.checkpoint_id,
            self.settings,
            READER_VERSION,
        ) != (
            present.footer.input_digest,
            present.footer.checkpoint_id,
            present.footer.settings,
            present.footer.reader_version,
        )
        if replaces:
            check_replaceable(present.footer)
        return replaces

    def _merged(
        self, block: AnnotatedBlock, new: Tables, committed: CommittedBlock | None
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
        if committed is not None:
            self._check_mergeable(footer, committed)
            new = merge(committed.tables, new)
            footer = self._merged_footer(footer, committed.footer, new)
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

    def _check_mergeable(self, new: Footer, committed: CommittedBlock) -> None:
        old = committed.footer
        if new.input_digest != old.input_digest:
            raise OutputError(
                f"{file_name(new.key)}: the output was made from another content of "
                f"{new.key.source!r} ({_short(old.input_digest)}, now {_short(new.input_digest)}), "
                "and this run has read only a part of the block; use another output folder"
            )
        if new.block_size != old.block_size:
            raise OutputError(
                f"{file_name(new.key)} has blocks of {old.block_size} offsets, expected "
                f"{new.block_size}; use another output folder"
            )
        if self.merges and not committed.consistent:
            raise inconsistent_block(new.key)

    def remove_after(self, key: BlockKey) -> None:
        """Remove the blocks after `key`, the last one of its source, citations first."""
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
    """Open the block `key` for replacement and return the result of `attempt`; retry on conflicts.

    :raises OutputError: if the store fails, or there are too many conflicts with other writers.
    """
    for _ in range(ATTEMPTS):
        with store.replacing(key) as replacement:
            try:
                return attempt(replacement)
            except ConflictError:
                continue
    raise OutputError(
        f"{file_name(key)}: other writers replaced the block {ATTEMPTS} times while it was "
        "merged; let one run at a time write to this output"
    )


def inconsistent_block(key: BlockKey) -> OutputError:
    """Return the error for a block whose files were not committed together."""
    return OutputError(
        f"{file_name(key)}: the block's files in {', '.join(KINDS)} do not belong together (one "
        "was removed or changed by hand); put back what was there, or remove all three and read "
        "the block's positions again"
    )


SEVERAL = "several"
"""The checkpoint or settings in a footer whose rows were made by several."""


def _short(digest: str) -> str:
    """Return a SHA-256 cut to 12 characters; a topic's id, which is short, unchanged."""
    return f"{digest[:12]}…" if len(digest) == 64 else digest


def check_replaceable(old: Footer) -> None:
    """Check that a committed block may be replaced by one of a file.

    :raises OutputError: if its rows come from a topic.
    """
    if old.covered:
        raise OutputError(
            f"{file_name(old.key)} holds rows of a topic named {old.key.source!r}, and this run "
            "would replace them by those of a file of that name; choose another --output"
        )


def _coverage(block: AnnotatedBlock, tables: Tables) -> Intervals:
    """Return the offsets that were read for `block`; without coverage, those of its rows."""
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
    """Return the footer of a committed file; None if it is missing or not written by pubner.

    :raises OutputError: if the file is damaged.
    """
    return _footer(store.open(kind, name), kind, name)


def _footer(stream: BinaryIO | None, kind: str, name: str) -> Footer | None:
    if stream is None:
        return None
    with stream:
        try:
            return footer_in(stream)
        except (pa.ArrowException, OSError) as error:
            raise damaged(kind, name, error) from error


def committed_blocks(
    store: Store, source: str, each: Callable[[], object] = lambda: None, *, partition: int = 0
) -> dict[int, Footer]:
    """Return the footers of a source's blocks whose three files are consistent, by block start.

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
    """Return the footer of a block; None if its three files are inconsistent."""
    name = file_name(key)
    found = read_footers(lambda kind: store.open(kind, name), key)
    return found.footer if found is not None and found.consistent else None


@dataclass(frozen=True, slots=True)
class FooterState:
    """The footer of a block's citations file, and whether its three files are consistent."""

    footer: Footer
    consistent: bool


def read_footers(open_file: Opener, key: BlockKey) -> FooterState | None:
    """Return the state of a block's footers; None if its citations file does not exist.

    :raises OutputError: if a file is damaged.
    """
    name = file_name(key)
    footers = {kind: _footer(open_file(kind), kind, name) for kind in KINDS}
    footer = footers["citations"]
    if footer is None:
        return None
    consistent = all(x is not None and x.revision == footer.revision for x in footers.values())
    return FooterState(footer, consistent)


def read_block(store: Store, key: BlockKey) -> CommittedBlock | None:
    """Return a committed block; None if its citations file, the commit record, does not exist.

    If its files were not committed together, the rows of the citations file take precedence.
    """
    name = file_name(key)
    return read_files(lambda kind: store.open(kind, name), key)


def read_pmids(store: Store, key: BlockKey) -> dict[int, int]:
    """Return the PMID of each citation of a committed block, by offset."""
    found = read_block(store, key)
    if found is None:
        return {}
    citations = found.tables["citations"]
    offsets, pmids = citations["offset"].to_pylist(), citations["pmid"].to_pylist()
    return dict(zip(offsets, pmids, strict=True))


def read_files(open_file: Opener, key: BlockKey) -> CommittedBlock | None:
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
    consistent = all(x is not None and x.revision == footer.revision for x in footers.values())
    if not consistent:
        committed = tables["citations"]["offset"]
        tables["mentions"] = only(tables["mentions"], committed)
        tables["dead_letters"] = without(tables["dead_letters"], committed)
    return CommittedBlock(footer, tables, consistent)


def _read(stream: BinaryIO, kind: str, name: str) -> tuple[Footer | None, pa.Table]:
    try:
        file = pq.ParquetFile(stream)
        table: Any = file.read()
        footer = Footer.from_metadata(file.metadata.metadata)
        return footer, in_newest_format(kind, table)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise damaged(kind, name, error) from error


def damaged(kind: str, name: str, error: Exception) -> OutputError:
    """Return the error for a file of the output that is not a complete Parquet file of its kind."""
    return OutputError(
        f"{kind}/{name} in the output is damaged ({error}); remove it, and run the command again "
        "to write it again"
    )
