"""The index of an output: its committed blocks with their footers and row counts.

Files are listed once; files that are unchanged in the listing are not opened, since a cache file in
the output (`.pubner.index`) holds what was read from them. See docs/decisions/0001-footer-index.md.
"""

import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.blocks.keys import BlockKey, file_name, name_prefix, parse_name
from pipelines.blocks.known import KnownBlocks
from pipelines.blocks.tables import Footer
from pipelines.output.index_file import (
    NOT_LISTED,
    BlockFiles,
    IndexedBlock,
    from_bytes,
    to_bytes,
)
from pipelines.output.store import Store
from pipelines.output.summary import COUNTED, Counts
from pipelines.output.writer import committed_footer, damaged, read_footer
from schemas.arrow import KINDS
from schemas.errors import ConflictError, OutputError

INDEX = ".pubner.index"
"""The cache file: hidden, so that readers of the output skip it."""
_THREADS = 16
_MOST_PREFIXES = 16
"""Up to this many sources are listed by prefix; for more, all files are listed."""
_log = logging.getLogger(__name__)

Entries = Mapping[BlockKey, IndexedBlock]


@dataclass(frozen=True, slots=True)
class OutputIndex:
    """The committed blocks of some sources, from one listing of the output.

    `entries` are those blocks and the known blocks of other sources. `saved` are the entries in the
    cache file, and `version` is the version of that file, None if it does not exist.
    """

    blocks: Entries
    entries: Entries = field(default_factory=dict)
    saved: Entries = field(default_factory=dict)
    version: str | None = None

    def written_since(self, before: "OutputIndex") -> list[BlockKey]:
        """Return the blocks that were written since another, earlier listing."""
        return [
            key
            for key, block in self.blocks.items()
            if key not in before.blocks
            or before.blocks[key].footer.revision != block.footer.revision
        ]

    def counts(self, keys: Collection[BlockKey] | None = None) -> Counts:
        """Return the row counts of all blocks, or of those in `keys`, which must be counted."""
        total = Counts()
        for key in self.blocks if keys is None else keys:
            total.add(self.blocks[key].counts or Counts())
        return total

    def known(self) -> dict[str, KnownBlocks]:
        """Return the summary of the known blocks by source."""
        return {
            source: KnownBlocks.of(
                (key.start, self.blocks[key].footer, self.blocks[key].files[-1]) for key in keys
            )
            for source, keys in groupby(sorted(self.blocks), lambda key: key.source)
        }


def read_index(
    store: Store,
    sources: Collection[str],
    *,
    before: OutputIndex | None = None,
    counted: bool = False,
    each: Callable[[], object] = lambda: None,
) -> OutputIndex:
    """List the output once and return the committed blocks of `sources`, which are files.

    Blocks that neither `before`, an earlier index of the same run, nor the cache file holds are
    read in parallel, and the cache file is updated; `each` is called for each block that is read.
    With `counted`, rows are counted too.

    :raises OutputError: if the output cannot be listed, or a file that must be read is damaged.
    """
    found = before or _load(store)
    wanted = frozenset(sources)
    everything = len(wanted) > _MOST_PREFIXES
    listed = _list(store, [""] if everything else [name_prefix(x, 0) for x in wanted])
    blocks: dict[BlockKey, IndexedBlock] = {}
    unknown: dict[BlockKey, BlockFiles] = {}
    for key, files in sorted(listed.items()):
        if key.source not in wanted or key.partition != 0:
            continue
        entry = found.entries.get(key)
        if entry is None or not entry.describes(files) or (counted and entry.counts is None):
            unknown[key] = files
        else:
            blocks[key] = entry
    blocks |= _read_all(store, unknown, counted=counted, each=each)
    others = {
        key: entry
        for key, entry in found.entries.items()
        if (key.source not in wanted or key.partition != 0)
        and (not everything or (key in listed and entry.describes(listed[key])))
    }
    return _save(store, replace(found, blocks=blocks, entries={**others, **blocks}))


def cached_blocks(store: Store) -> dict[BlockKey, IndexedBlock]:
    """Return the blocks of all sources that the cache file knows and that are unchanged since.

    Nothing but the cache file is read; where there is none, the output is not listed either.

    :raises OutputError: if the output cannot be listed.
    """
    entries = _load(store).entries
    listed = _list(store, [""]) if entries else {}
    return {
        key: entries[key]
        for key, files in listed.items()
        if key in entries and entries[key].describes(files)
    }


def citations_footers(
    store: Store, keys: Iterable[BlockKey], each: Callable[[], object] = lambda: None
) -> dict[BlockKey, Footer]:
    """Return the footers of the citations files of blocks, read in parallel.

    `each` is called for each block.

    :raises OutputError: if a file is damaged.
    """
    found: dict[BlockKey, Footer] = {}
    wanted = list(keys)
    with _reading_pool() as pool:
        read = pool.map(lambda key: read_footer(store, "citations", file_name(key)), wanted)
        for key, footer in zip(wanted, read, strict=True):
            if footer is not None:
                found[key] = footer
            each()
    return found


def committed_since(store: Store, source: str, known: KnownBlocks) -> dict[int, Footer]:
    """Return the footers of a file's committed blocks, by start, as `committed_blocks` does.

    Only blocks written since `known` are read: by this run, before a runner retried the bundle.
    """
    states = {
        key.start: (key, state)
        for name, state in store.states("citations", [name_prefix(source, 0)]).items()
        if (key := parse_name(name)) is not None and (key.source, key.partition) == (source, 0)
    }
    found = known.unchanged((start, state) for start, (_, state) in states.items())
    for start, (key, _) in states.items():
        if start not in found:
            footer = committed_footer(store, key)
            if footer is not None:
                found[start] = footer
    return found


def _list(store: Store, prefixes: list[str]) -> dict[BlockKey, BlockFiles]:
    """Return the states of each block's files; a block without its citations file is left out."""
    with ThreadPoolExecutor(len(KINDS)) as pool:
        states = list(pool.map(lambda kind: store.states(kind, prefixes), KINDS))
    found: dict[BlockKey, BlockFiles] = {}
    for name in states[-1]:
        key = parse_name(name)
        if key is not None:
            found[key] = tuple(files.get(name, NOT_LISTED) for files in states)
    return found


def _read_all(
    store: Store,
    blocks: Mapping[BlockKey, BlockFiles],
    *,
    counted: bool,
    each: Callable[[], object],
) -> dict[BlockKey, IndexedBlock]:
    """Read blocks in parallel; blocks whose three files are inconsistent are left out."""
    found: dict[BlockKey, IndexedBlock] = {}
    with _reading_pool() as pool:
        read = pool.map(lambda key: _read(store, key, counted=counted), blocks)
        for (key, files), (footer, counts) in zip(blocks.items(), read, strict=True):
            if footer is not None:
                found[key] = IndexedBlock(files, footer, counts)
            each()
    return found


@contextmanager
def _reading_pool() -> Iterator[ThreadPoolExecutor]:
    """Yield a pool of threads; what waits in it is cancelled where the caller fails."""
    pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="pubner-index")
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _read(store: Store, key: BlockKey, *, counted: bool) -> tuple[Footer | None, Counts | None]:
    """Open each file of a block once; return its footer, and its row counts if `counted`.

    The footer is None if the three files are inconsistent.
    """
    if not counted:
        return committed_footer(store, key), None
    name = file_name(key)
    footers: list[Footer] = []
    groups: dict[str, dict[str, list[Any]]] = {}
    for kind, columns in COUNTED.items():
        stream = store.open(kind, name)
        if stream is None:
            return None, None
        with stream:
            try:
                file = pq.ParquetFile(stream)
                footer = Footer.from_metadata(file.metadata.metadata)
                if footer is None:
                    return None, None
                table = file.read(list(columns))
            except (pa.ArrowException, OSError) as error:
                raise damaged(kind, name, error) from error
        footers.append(footer)
        groups[kind] = table.group_by(list(columns)).aggregate([([], "count_all")]).to_pydict()
    consistent = len({footer.revision for footer in footers}) == 1
    return (footers[-1], Counts.of(groups)) if consistent else (None, None)


def _load(store: Store) -> OutputIndex:
    """Return the index in the cache file; an empty one if it is missing or unreadable."""
    try:
        stored = store.objects.get(INDEX)
    except OutputError as error:
        _log.info("%s of the output cannot be read: %s", INDEX, error)
        stored = None
    if stored is None:
        return OutputIndex({})
    try:
        entries = from_bytes(stored.data)
    except Exception as error:  # Arrow may raise anything for damaged bytes
        _log.info("%s of the output is rebuilt: %s", INDEX, error)
        entries = {}
    return OutputIndex({}, entries, entries, stored.version)


def _save(store: Store, index: OutputIndex) -> OutputIndex:
    """Write the cache file if its entries have changed.

    It is only a cache: a failed write, or a conflict with another run, is not an error.
    """
    kept = {
        key: entry
        for key, entry in index.entries.items()
        if entry.footer.key == key and entry.settled
    }
    if kept == index.saved:
        return index
    try:
        version = store.objects.put(INDEX, to_bytes(kept), over=index.version)
    except (ConflictError, OutputError) as error:
        _log.info("%s of the output was not written: %s", INDEX, error)
        return index
    return replace(index, saved=kept, version=version)
