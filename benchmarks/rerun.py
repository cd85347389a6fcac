"""How long a rerun looks at an output of many finished blocks before its first new citation."""

import os
import pickle
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar
from unittest import mock

from pipelines.blocks.elements import AnnotatedBlock, AnnotatedCitation, BlockHeader
from pipelines.blocks.keys import BlockKey, file_name
from pipelines.blocks.tables import Footer, Tables, block_tables
from pipelines.output.index import INDEX, read_index
from pipelines.output.object_store import ObjectStore
from pipelines.output.store import DiskStore, Store, open_store
from pipelines.output.writer import committed_blocks, to_files
from schemas.arrow import KINDS
from schemas.records import Annotation, Citation, Mention
from schemas.tasks import EntityType
from tests.support.s3 import S3Server
from worker.system.batching import in_groups

BLOCK_SIZE = 1000
_BLOCKS_A_FILE = 32
_CITATIONS = 20
_THREADS = 16
_LONG_AGO = 1_700_000_000
T = TypeVar("T")


def measure_rerun(blocks: int = 38_000) -> dict[str, float]:
    """Look at outputs of `blocks` finished blocks on a disk and on a local S3 server.

    Blocks have 20 citations, so files are small. The keys, after `disk` or `S3`, in seconds:
    `listing`, of all three folders; `one_by_one`, all footers once without the index;
    `index_new`, the index while it has no cache file; `index`, what a rerun takes; `index_counts`,
    the rows of all blocks while they were never counted; `index_with_counts`, once they were. In
    bytes: `index_bytes`, the cache file, and `known_bytes`, what travels with the elements.
    """
    found: dict[str, float] = {"blocks": blocks}
    with tempfile.TemporaryDirectory() as folder:
        disk = DiskStore(Path(folder) / "out")
        sources = fill(disk, blocks)
        found |= {f"disk {name}": value for name, value in _measure(disk, sources).items()}
        with _bucket(Path(folder) / "s3") as root:
            store = open_store(root)
            sources = fill(store, blocks)
            found |= {f"S3 {name}": value for name, value in _measure(store, sources).items()}
    return found


def fill(store: Store, blocks: int) -> list[str]:
    """Put finished blocks into an empty store, old enough to be trusted; return their sources."""
    tables = _tables()
    keys = [
        BlockKey(f"pubmed26n{number:04}.xml.gz", 0, start * BLOCK_SIZE)
        for number, starts in enumerate(in_groups(range(blocks), _BLOCKS_A_FILE))
        for start in range(len(starts))
    ]
    with ThreadPoolExecutor(_THREADS) as pool:
        for chunk in in_groups(keys, 1000):
            list(pool.map(lambda key: _put(store, key, to_files(tables, _footer(key))), chunk))
    return sorted({key.source for key in keys})


def _measure(store: Store, sources: list[str]) -> dict[str, float]:
    objects = store.objects
    listing, _ = _timed(lambda: [store.states(kind) for kind in KINDS])
    one_by_one, _ = _timed(lambda: [committed_blocks(store, source) for source in sources])
    objects.remove(INDEX)
    new, _ = _timed(lambda: read_index(store, sources))
    index, found = _timed(lambda: read_index(store, sources))
    counts, _ = _timed(lambda: read_index(store, sources, before=found, counted=True))
    stored = objects.get(INDEX)
    again, found = _timed(lambda: read_index(store, sources, counted=True))
    return {
        "listing": listing,
        "one_by_one": one_by_one,
        "index_new": new,
        "index": index,
        "index_counts": counts,
        "index_with_counts": again,
        "index_bytes": 0 if stored is None else len(stored.data),
        "known_bytes": sum(len(pickle.dumps(known)) for known in found.known().values()),
    }


def _timed(run: Callable[[], T]) -> tuple[float, T]:
    begun = time.perf_counter()
    result = run()
    return time.perf_counter() - begun, result


def _tables() -> Tables:
    text = "BRCA1 in breast cancer"
    mention = Mention("bc2gm", "GENE", EntityType.GENE, 0, 5, 0.9, True, "c1")
    disease = Mention("ncbi", "Disease", EntityType.DISEASE, 9, 22, 0.9, True, "c1")
    citations = tuple(
        AnnotatedCitation(offset, Citation(1 + offset, title=text), Annotation((mention, disease)))
        for offset in range(_CITATIONS)
    )
    key, now = BlockKey("s.xml", 0, 0), datetime.now(UTC)
    block = AnnotatedBlock(BlockHeader(key, "d1", complete=True), "c1", now, citations, ())
    return block_tables(block, store_text=True)


def _footer(key: BlockKey) -> Footer:
    digest = f"{hash(key.source) % 2**64:064x}"
    return Footer(key, BLOCK_SIZE, digest, "c1", "", _CITATIONS, True, False, revision="r1")


def _put(store: Store, key: BlockKey, files: dict[str, bytes]) -> None:
    for kind, data in files.items():
        if isinstance(store, DiskStore):
            path = store.root / kind / file_name(key)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            os.utime(path, (_LONG_AGO, _LONG_AGO))
        elif isinstance(store, ObjectStore):
            store.objects.put(f"{kind}/{file_name(key)}", data, over=None)


@contextmanager
def _bucket(folder: Path) -> Iterator[str]:
    """Start a local S3 server; yield the URL of an output in it."""
    server = S3Server(folder)
    try:
        server.up()
        with mock.patch.dict(os.environ, server.environment):
            yield server.url("out")
    finally:
        server.down()
