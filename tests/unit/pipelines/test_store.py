"""Stores: a disk with rename, anything else with PUT."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.store import DiskStore, ObjectStore, Staged, is_local, open_store
from pipelines.writer import BlockWriter, committed_blocks
from schemas.errors import OutputError
from tests.support.blocks import block
from tests.support.memory_files import SCHEME, MemoryFiles

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
    assert open_store("a/b") == DiskStore(Path("a/b"))
    assert not is_local("gs://a")


@pytest.mark.parametrize("url", [False, True])
def test_a_file_is_seen_when_it_is_committed(tmp_path: Path, url: bool) -> None:
    store = open_store(ROOT if url else str(tmp_path))
    assert store.names("mentions") == []
    assert store.open("mentions", "a.parquet") is None
    staged = store.stage("mentions", "a.parquet", b"one")
    assert store.names("mentions") == []
    store.commit(staged)
    store.commit(store.stage("mentions", "a.parquet", b"two"))
    store.discard(store.stage("mentions", "b.parquet", b"three"))
    assert store.names("mentions") == ["a.parquet"]
    stream = store.open("mentions", "a.parquet")
    assert stream is not None
    with stream:
        assert stream.read() == b"two"
    store.remove("mentions", "a.parquet")
    store.remove("mentions", "a.parquet")
    assert store.names("mentions") == []


def test_an_object_store_gets_final_names_only() -> None:
    store = open_store(ROOT)
    writer = BlockWriter(store=store, block_size=10, settings="")
    writer.write(block([0], complete=False, last=False))
    writer.write(block([1], complete=False, last=True))
    name = "s.xml-0-000000000000.parquet"
    order = [f"{ROOT}/{kind}/{name}" for kind in ("mentions", "dead_letters", "citations")]
    assert MemoryFiles.uploads == order * 2
    assert committed_blocks(store, "s.xml")[0].records == 2


def test_temporary_files_are_hidden_and_leftovers_removed(tmp_path: Path) -> None:
    store = DiskStore(tmp_path)
    staged = store.stage("citations", "a.parquet", b"x")
    assert staged.temporary == tmp_path / "citations" / ".a.parquet.tmp"
    store.commit(store.stage("mentions", "a.parquet", b"x"))
    assert store.remove_leftovers() == 1
    assert list((tmp_path / "citations").iterdir()) == []
    assert store.names("mentions") == ["a.parquet"]


def test_failures_name_the_place_and_the_way_on(tmp_path: Path) -> None:
    (tmp_path / "mentions").write_text("in the way")
    store = DiskStore(tmp_path)
    with pytest.raises(OutputError, match=r"cannot write '.*mentions/a\.parquet'.*same command"):
        store.stage("mentions", "a.parquet", b"x")
    with pytest.raises(OutputError, match="another store"):
        store.commit(Staged("mentions", "a.parquet", b"x"))
    (tmp_path / "citations" / "a.parquet").mkdir(parents=True)
    with pytest.raises(OutputError, match="cannot read"):
        store.open("citations", "a.parquet")
    with pytest.raises(OutputError, match="cannot write"):
        store.commit(store.stage("citations", "a.parquet", b"x"))
