"""The index of an output: what is listed unchanged is not opened again; all else is read."""

import os
import pickle
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.io.filesystem import FileMetadata

from pipelines.blocks.keys import BlockKey, file_name
from pipelines.blocks.known import KnownBlocks
from pipelines.dead_letters.reading import read_dead_letters
from pipelines.dead_letters.selection import Selection
from pipelines.output.beam_objects import BeamObjects
from pipelines.output.index import (
    INDEX,
    OutputIndex,
    cached_blocks,
    citations_footers,
    committed_since,
    read_index,
)
from pipelines.output.index_file import from_bytes, to_bytes
from pipelines.output.object_store import ObjectStore
from pipelines.output.store import DiskStore, Store
from pipelines.output.writer import BlockWriter, committed_blocks
from schemas.arrow import KINDS
from schemas.errors import OutputError
from tests.support.blocks import block, dead_letter
from tests.support.crash_injection import FailAt, MemoryObjects, SteppedObjects
from tests.support.memory_files import SCHEME, MemoryFiles

SOURCE = "s.xml"
LONG_AGO = 1_700_000_000


class CountingDisk(DiskStore):
    """A store on a disk that notes which files are opened."""

    opened_files: list[str]

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        object.__setattr__(self, "opened_files", [])

    def open(self, kind: str, name: str) -> BinaryIO | None:
        self.opened_files.append(f"{kind}/{name}")
        return super().open(kind, name)


@dataclass
class CountingObjects(MemoryObjects):
    """Objects in memory that note which are opened."""

    opened_files: list[str] = field(default_factory=list)

    def open(self, path: str) -> BinaryIO | None:
        self.opened_files.append(path)
        return super().open(path)


def write(store: Store, start: int, *, source: str = SOURCE, note: str = "") -> None:
    """Write a block of two citations and a dead letter."""
    BlockWriter(store, 10, "").write(
        block(
            [start, start + 1],
            dead_letters=[start + 2],
            start=start,
            source=source,
            note=note,
            last=False,
        )
    )


def age(root: Path, seconds: int = LONG_AGO) -> None:
    """Let all files of the data sets look as if they were written long ago."""
    for path in root.glob("*/*.parquet"):
        os.utime(path, (seconds, seconds))


def path_of(root: Path, kind: str, start: int) -> Path:
    return root / kind / file_name(BlockKey(SOURCE, 0, start))


def starts(index: OutputIndex) -> list[int]:
    return [key.start for key in sorted(index.blocks)]


@pytest.fixture
def disk(tmp_path: Path) -> CountingDisk:
    """An output of three blocks, all of them old, whose index is written."""
    store = CountingDisk(tmp_path / "out")
    for start in (0, 10, 20):
        write(store, start)
    age(store.root)
    read_index(store, [SOURCE], counted=True)
    store.opened_files.clear()
    return store


def test_what_is_listed_unchanged_is_not_opened(disk: CountingDisk) -> None:
    index = read_index(disk, [SOURCE], counted=True)
    assert disk.opened_files == []
    assert {key.start: x.footer for key, x in index.blocks.items()} == committed_blocks(
        DiskStore(disk.root), SOURCE
    )
    assert index.counts().citations == {"annotated": 6}
    assert index.counts().mentions == {("bc2gm", "Gene"): 12}
    assert index.counts().dead_letters == {"parse": 3}


def test_each_file_is_opened_once_where_nothing_is_known(disk: CountingDisk) -> None:
    (disk.root / INDEX).unlink()
    calls: list[None] = []
    read_index(disk, [SOURCE], counted=True, each=lambda: calls.append(None))
    names = [file_name(BlockKey(SOURCE, 0, start)) for start in (0, 10, 20)]
    assert sorted(disk.opened_files) == sorted(f"{kind}/{name}" for kind in KINDS for name in names)
    assert len(calls) == 3


def test_the_index_is_hidden_from_readers_and_written_only_if_it_changes(
    disk: CountingDisk,
) -> None:
    assert INDEX.startswith(".")
    before = (disk.root / INDEX).stat().st_mtime_ns
    read_index(disk, [SOURCE], counted=True)
    assert (disk.root / INDEX).stat().st_mtime_ns == before


def test_a_block_that_was_replaced_is_read_again(disk: CountingDisk) -> None:
    before = read_index(disk, [SOURCE], counted=True)
    BlockWriter(disk, 10, "").write(block([10], start=10, digest="d2", last=False))
    disk.opened_files.clear()
    after = read_index(disk, [SOURCE], before=before, counted=True)
    name = file_name(BlockKey(SOURCE, 0, 10))
    assert sorted(disk.opened_files) == sorted(f"{kind}/{name}" for kind in KINDS)
    assert after.written_since(before) == [BlockKey(SOURCE, 0, 10)]
    assert after.blocks[BlockKey(SOURCE, 0, 10)].footer.input_digest == "d2"
    assert after.counts().citations == {"annotated": 5}


def test_another_content_of_the_same_size_is_seen_by_its_time(disk: CountingDisk) -> None:
    path = path_of(disk.root, "citations", 10)
    content = bytearray(path.read_bytes())
    at = content.index(b"d1", content.index(b"pubner.input_digest"))
    content[at : at + 2] = b"d9"
    size = path.stat().st_size
    path.write_bytes(content)
    assert path.stat().st_size == size
    index = read_index(disk, [SOURCE])
    assert index.blocks[BlockKey(SOURCE, 0, 10)].footer.input_digest == "d9"


def test_a_file_that_was_just_written_is_not_trusted(tmp_path: Path) -> None:
    """Where the clock of the disk is coarse, the next change may bear the same time."""
    disk = CountingDisk(tmp_path / "out")
    write(disk, 0)
    write(disk, 10)
    for kind in KINDS:
        os.utime(path_of(disk.root, kind, 0), (LONG_AGO, LONG_AGO))
    soon = time.time() + 3600  # however long this test takes
    for kind in KINDS:
        os.utime(path_of(disk.root, kind, 10), (soon, soon))
    first = read_index(disk, [SOURCE])
    disk.opened_files.clear()
    assert starts(read_index(disk, [SOURCE])) == [0, 10]
    assert {name.rpartition("-")[2] for name in disk.opened_files} == {"000000000010.parquet"}
    disk.opened_files.clear()
    read_index(disk, [SOURCE], before=first)
    assert len(disk.opened_files) == 3


def _nothing(data: bytes) -> bytes:
    return data[:0]


def _half(data: bytes) -> bytes:
    return data[: len(data) // 2]


def _flipped(data: bytes) -> bytes:
    return data[:200] + bytes(x ^ 0xFF for x in data[200:400]) + data[400:]


def _text(data: bytes) -> bytes:
    return b'{"version": 1}'


def _of_another_version(data: bytes) -> bytes:
    table = pq.read_table(pa.BufferReader(data))
    return _parquet(table.replace_schema_metadata({b"pubner.index_version": b"2"}))


def _without_a_column(data: bytes) -> bytes:
    return _parquet(pq.read_table(pa.BufferReader(data)).drop_columns("covered"))


def _with(column: str, value: object) -> Callable[[bytes], bytes]:
    def changed(data: bytes) -> bytes:
        table = pq.read_table(pa.BufferReader(data))
        number = table.schema.get_field_index(column)
        values = pa.array([value] * table.num_rows, table.schema.field(column).type)
        return _parquet(table.set_column(number, table.schema.field(column), values))

    return changed


def _parquet(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    data: bytes = sink.getvalue().to_pybytes()
    return data


@pytest.mark.parametrize(
    "damage",
    [
        _nothing,
        _half,
        _flipped,
        _text,
        _of_another_version,
        _without_a_column,
        _with("name", "../x"),
        _with("covered", "5"),
        _with("revision", None),
        _with("counts", "1],[2"),
        _with("counts", '["abc",[],{}]'),
        _with("counts", '[{"annotated":-1},[],{}]'),
        _with("counts", "[" * 100_000),
    ],
)
def test_an_index_that_is_none_is_made_anew(
    disk: CountingDisk, damage: Callable[[bytes], bytes]
) -> None:
    whole = (disk.root / INDEX).read_bytes()
    (disk.root / INDEX).write_bytes(damage(whole))
    index = read_index(disk, [SOURCE], counted=True)
    assert index.counts().citations == {"annotated": 6}
    assert len(disk.opened_files) == 9
    assert (disk.root / INDEX).read_bytes() == whole


def test_blocks_whose_files_do_not_agree_are_none_and_are_read_each_time(
    disk: CountingDisk,
) -> None:
    other = CountingDisk(disk.root.parent / "other")
    write(other, 10, note="x")
    path_of(disk.root, "mentions", 10).write_bytes(path_of(other.root, "mentions", 10).read_bytes())
    path_of(disk.root, "dead_letters", 20).unlink()
    for counted in (False, True):
        assert starts(read_index(disk, [SOURCE], counted=counted)) == [0]
    assert list(committed_blocks(DiskStore(disk.root), SOURCE)) == [0]


def test_a_block_of_which_the_citations_are_missing_is_none(disk: CountingDisk) -> None:
    path_of(disk.root, "citations", 10).unlink()
    assert starts(read_index(disk, [SOURCE])) == [0, 20]
    assert disk.opened_files == []


@pytest.mark.parametrize("counted", [False, True])
def test_a_damaged_file_is_an_error(disk: CountingDisk, counted: bool) -> None:
    path_of(disk.root, "mentions", 10).write_bytes(b"PAR1 broken")
    with pytest.raises(OutputError, match=r"mentions/s\.xml-0-0+10\.parquet .* damaged"):
        read_index(disk, [SOURCE], counted=counted)


def test_a_file_that_pubner_did_not_write_is_no_block(disk: CountingDisk) -> None:
    pq.write_table(pa.table({"a": [1]}), path_of(disk.root, "citations", 10))
    for counted in (False, True):
        assert starts(read_index(disk, [SOURCE], counted=counted)) == [0, 20]


def test_sources_whose_names_begin_alike_are_told_apart(tmp_path: Path) -> None:
    disk = DiskStore(tmp_path / "out")
    write(disk, 0, source="a")
    write(disk, 10, source="a-0")
    assert [x.source for x in read_index(disk, ["a"]).blocks] == ["a"]
    assert [x.source for x in read_index(disk, ["a-0"]).blocks] == ["a-0"]


def test_what_is_known_of_other_sources_is_kept(disk: CountingDisk) -> None:
    write(disk, 0, source="t.xml")
    age(disk.root)
    read_index(disk, ["t.xml"], counted=True)
    many = [SOURCE, *(f"none-{number}" for number in range(100))]
    disk.opened_files.clear()
    assert starts(read_index(disk, many, counted=True)) == [0, 10, 20]
    assert len(read_index(disk, ["t.xml"], counted=True).blocks) == 1
    assert disk.opened_files == []


def test_an_output_that_cannot_hold_an_index_is_read_all_the_same(disk: CountingDisk) -> None:
    (disk.root / INDEX).unlink()
    (disk.root / INDEX).mkdir()
    assert starts(read_index(disk, [SOURCE])) == [0, 10, 20]


def test_rows_are_counted_when_they_are_asked_for(disk: CountingDisk) -> None:
    (disk.root / INDEX).unlink()
    before = read_index(disk, [SOURCE])
    assert all(x.counts is None for x in before.blocks.values())
    assert read_index(disk, [SOURCE], before=before, counted=True).counts().citations.total() == 6
    disk.opened_files.clear()
    read_index(disk, [SOURCE], counted=True)
    assert disk.opened_files == []


def test_an_object_store_tells_versions() -> None:
    objects = CountingObjects()
    store = ObjectStore(objects)
    write(store, 0)
    write(store, 10)
    before = read_index(store, [SOURCE], counted=True)
    assert len(objects.opened_files) == 6
    objects.opened_files.clear()
    puts = list(objects.puts)
    assert read_index(store, [SOURCE], counted=True).blocks == before.blocks
    assert (objects.opened_files, objects.puts) == ([], puts)
    write(store, 10, note="x")
    assert len(read_index(store, [SOURCE], before=before).written_since(before)) == 1
    assert {path.rpartition("-")[2] for path in objects.opened_files} == {"000000000010.parquet"}


def test_a_block_that_waits_in_the_journal_is_no_block_until_it_is_settled() -> None:
    objects = MemoryObjects()
    write(ObjectStore(objects), 0)
    stopped = SteppedObjects(objects, FailAt(7, OutputError("lost")))
    with pytest.raises(OutputError, match="lost"):
        BlockWriter(ObjectStore(stopped), 10, "").write(block([0], start=0, digest="d2"))
    assert "put mentions" in " ".join(stopped.hook.done)  # type: ignore[attr-defined]
    assert starts(read_index(ObjectStore(objects), [SOURCE], counted=True)) == []
    with ObjectStore(objects).replacing(BlockKey(SOURCE, 0, 0)):
        pass
    index = read_index(ObjectStore(objects), [SOURCE], counted=True)
    assert [x.footer.input_digest for x in index.blocks.values()] == ["d2"]


@pytest.fixture
def bucket() -> Iterator[str]:
    """An empty folder of a file system that Beam knows alone."""
    MemoryFiles.objects.clear()
    yield f"{SCHEME}://bucket/out"
    MemoryFiles.objects.clear()


def test_a_file_system_that_names_no_times_is_read_each_time(bucket: str) -> None:
    store = ObjectStore(BeamObjects(bucket))
    write(store, 0)
    assert [x.settled for x in store.states("citations").values()] == [False]
    for _ in range(2):
        assert read_index(store, [SOURCE], counted=True).counts().citations == {"annotated": 2}


@pytest.mark.parametrize(("seconds_ago", "settled"), [(10.0, False), (86_400.0, True)])
def test_times_of_a_file_system_of_beam_s_are_trusted_late(
    bucket: str, monkeypatch: pytest.MonkeyPatch, seconds_ago: float, settled: bool
) -> None:
    store = ObjectStore(BeamObjects(bucket))
    write(store, 0)
    listed = MemoryFiles._list

    def dated(self: MemoryFiles, place: str) -> Iterator[FileMetadata]:
        for entry in listed(self, place):
            yield FileMetadata(entry.path, entry.size_in_bytes, time.time() - seconds_ago)

    monkeypatch.setattr(MemoryFiles, "_list", dated)
    assert [x.settled for x in store.states("citations").values()] == [settled]


def test_what_is_known_of_a_file_travels_and_is_asked_for_once(disk: CountingDisk) -> None:
    known = read_index(disk, [SOURCE]).known()[SOURCE]
    travelled = pickle.loads(pickle.dumps(known))
    footers = committed_blocks(DiskStore(disk.root), SOURCE)
    assert travelled.footers() == {
        start: replace(footer, revision="") for start, footer in footers.items()
    }
    assert committed_since(disk, SOURCE, travelled).keys() == footers.keys()
    assert disk.opened_files == []


def test_what_was_written_since_is_found(disk: CountingDisk) -> None:
    known = read_index(disk, [SOURCE]).known()[SOURCE]
    write(disk, 30)
    BlockWriter(disk, 10, "").write(block([10], start=10, digest="d2", last=False))
    path_of(disk.root, "citations", 20).unlink()
    found = committed_since(disk, SOURCE, known)
    assert {start: x.input_digest for start, x in found.items()} == {0: "d1", 10: "d2", 30: "d1"}
    assert committed_since(disk, SOURCE, KnownBlocks()).keys() == found.keys()


def test_the_file_gives_back_what_it_was_given(disk: CountingDisk) -> None:
    BlockWriter(disk, 10, "a=1", merges=True).write(
        replace(block([31], start=30, last=False, complete=False), dead_letters=(dead_letter(35),))
    )
    age(disk.root)
    entries = read_index(disk, [SOURCE], counted=True).blocks
    assert {x.footer.covered for x in entries.values()} == {(), ((31, 32), (35, 36))}
    assert from_bytes(to_bytes(entries)) == entries


def test_what_the_cache_file_knows_is_told_without_opening_a_block(disk: CountingDisk) -> None:
    assert sorted(key.start for key in cached_blocks(disk)) == [0, 10, 20]
    write(disk, 10, note="x")
    disk.opened_files.clear()
    assert sorted(key.start for key in cached_blocks(disk)) == [0, 20]
    (disk.root / INDEX).unlink()
    assert cached_blocks(disk) == {}
    assert disk.opened_files == []


def test_blocks_without_dead_letters_are_not_opened_for_them(disk: CountingDisk) -> None:
    BlockWriter(disk, 10, "").write(block([30, 31], start=30, last=False))
    age(disk.root)
    empty = file_name(BlockKey(SOURCE, 0, 30))
    for opened in (True, False):
        disk.opened_files.clear()
        found = list(read_dead_letters(disk, Selection()))
        assert [x.footer.key.start for x in found] == [0, 10, 20]
        assert (f"dead_letters/{empty}" in disk.opened_files) == opened
        read_index(disk, [SOURCE], counted=True)
    BlockWriter(disk, 10, "").write(block([], dead_letters=[30], start=30, digest="d2", last=False))
    found = list(read_dead_letters(disk, Selection()))
    assert [x.footer.key.start for x in found] == [0, 10, 20, 30]


def test_footers_are_read_in_parallel_each_once(disk: CountingDisk) -> None:
    calls: list[None] = []
    keys = [BlockKey(SOURCE, 0, start) for start in (0, 10, 20, 30)]
    found = citations_footers(disk, keys, lambda: calls.append(None))
    assert {key.start: x for key, x in found.items()} == committed_blocks(
        DiskStore(disk.root), SOURCE
    )
    assert len(calls) == 4
    assert sorted(disk.opened_files) == [f"citations/{file_name(key)}" for key in keys]
