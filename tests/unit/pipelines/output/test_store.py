"""Stores: a disk with rename, anything else with PUT."""

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import pytest

from pipelines.blocks.keys import BlockKey, file_name, name_prefix, parse_name
from pipelines.output.object_store import ObjectStore
from pipelines.output.store import DiskStore, is_local, open_store
from pipelines.output.writer import BlockWriter, committed_blocks
from schemas.arrow import KINDS
from schemas.errors import OutputError
from tests.support.blocks import block, hidden_files
from tests.support.memory_files import SCHEME, MemoryFiles

NAME = "s.xml-0-000000000000.parquet"
ROOT = f"{SCHEME}://bucket/out"


@pytest.fixture(autouse=True)
def _empty_bucket() -> Iterator[None]:
    MemoryFiles.objects.clear()
    MemoryFiles.uploads.clear()
    yield
    MemoryFiles.objects.clear()


def test_urls_are_told_from_paths() -> None:
    assert isinstance(open_store(ROOT), ObjectStore)
    assert open_store("file:///a/b") == DiskStore(Path("/a/b"))
    assert open_store("a/b") == DiskStore(Path.cwd() / "a/b")
    assert not is_local("gs://a")


@pytest.mark.parametrize("url", [False, True])
def test_a_block_s_files_are_put_in_place_replaced_and_removed(tmp_path: Path, url: bool) -> None:
    store = open_store(ROOT if url else str(tmp_path))
    key = BlockKey("s.xml", 0, 0)
    name = file_name(key)
    for kind in KINDS:
        assert store.names(kind) == []
        assert store.open(kind, name) is None
        store.remove(kind, name)
    for data in (b"one", b"two"):
        with store.replacing(key) as place:
            place.replace({kind: data + kind.encode() for kind in KINDS})
            for kind in KINDS:
                assert contents(place.open(kind)) == data + kind.encode()
    for kind in KINDS:
        assert store.names(kind) == [name]
        assert contents(store.open(kind, name)) == b"two" + kind.encode()
        store.remove(kind, name)
        assert store.names(kind) == []


def contents(stream: BinaryIO | None) -> bytes:
    assert stream is not None
    with stream:
        return stream.read()


def test_an_object_store_gets_each_final_object_by_one_put() -> None:
    store = open_store(ROOT)
    writer = BlockWriter(store=store, block_size=10, settings="")
    writer.write(block([0], complete=False, last=False))
    writer.write(block([1], complete=False, last=True))
    name = "s.xml-0-000000000000.parquet"
    journal = f"{ROOT}/.journal/s.xml-0"
    files = [f"{ROOT}/{kind}/{name}" for kind in ("mentions", "dead_letters", "citations")]
    assert MemoryFiles.uploads == [journal, *files, journal] * 2
    assert committed_blocks(store, "s.xml")[0].records == 2


def test_temporary_files_are_hidden_and_leftovers_are_settled(tmp_path: Path) -> None:
    store = DiskStore(tmp_path)
    for name in ("a.parquet", NAME):
        store.stage("citations", name, b"x")
    assert store.names("citations") == []
    assert hidden_files(tmp_path) == [".a.parquet.tmp", f".{NAME}.tmp"]
    store.recover()
    assert list((tmp_path / "citations").iterdir()) == []


def test_leftovers_of_a_partition_that_is_being_written_stay(tmp_path: Path) -> None:
    store = DiskStore(tmp_path)
    with store.replacing(BlockKey("s.xml", 0, 0)):
        store.stage("citations", NAME, b"x")
        store.recover()
        assert hidden_files(tmp_path) == [f".{NAME}.tmp"]
    store.recover()
    assert hidden_files(tmp_path) == []


def test_failures_name_the_place_and_the_way_on(tmp_path: Path) -> None:
    (tmp_path / "mentions").write_text("in the way")
    store = DiskStore(tmp_path)
    with pytest.raises(OutputError, match=r"cannot write '.*mentions/a\.parquet'.*same command"):
        store.stage("mentions", "a.parquet", b"x")
    (tmp_path / "citations" / "a.parquet").mkdir(parents=True)
    with pytest.raises(OutputError, match="cannot read"):
        store.open("citations", "a.parquet")
    store.stage("citations", "a.parquet", b"x")
    with pytest.raises(OutputError, match="cannot write"):
        store.commit("citations", "a.parquet")
    with pytest.raises(OutputError, match=r"pubner-nowhere://a.*pip install"):
        open_store("pubner-nowhere://a")


@pytest.mark.parametrize("url", [False, True])
def test_names_by_what_they_begin_with(tmp_path: Path, url: bool) -> None:
    store = open_store(ROOT if url else str(tmp_path))
    sources = ("a", "a-0", "a[1]", "b")
    for source in sources:
        BlockWriter(store, 10, "").write(block([2], source=source))
    for source in sources:
        found = {parse_name(name) for name in store.names("citations", name_prefix(source, 0))}
        expected = ("a", "a-0") if source == "a" else (source,)
        assert found == {BlockKey(other, 0, 0) for other in expected}
        [footer] = committed_blocks(store, source).values()
        assert footer.key.source == source
    assert len(store.names("citations")) == len(sources)
