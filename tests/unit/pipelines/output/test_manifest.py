"""The output folder: its manifest and its lock."""

import json
import multiprocessing
import os
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from pipelines.blocks.tables import FORMAT_VERSION
from pipelines.output.manifest import open_existing, open_output, output_id, record_missing
from pipelines.output.store import MANIFEST, DiskStore
from pipelines.output.writer import BlockWriter
from schemas.errors import OutputError
from tests.support.blocks import block, hidden_files
from tests.support.memory_files import SCHEME, MemoryFiles


@pytest.fixture(autouse=True)
def _empty_bucket() -> Iterator[None]:
    MemoryFiles.objects.clear()
    yield
    MemoryFiles.objects.clear()


def try_open(root: str, block_size: int = 10) -> None:
    with open_output(root, block_size=block_size):
        pass


@pytest.mark.parametrize("url", [False, True])
def test_settings_are_recorded_and_a_mismatch_is_refused(tmp_path: Path, url: bool) -> None:
    root = f"{SCHEME}://bucket/out" if url else str(tmp_path / "a" / "out")
    with pytest.raises(OutputError, match="holds no output"):
        open_existing(root)
    try_open(root)
    try_open(root)
    with pytest.raises(OutputError, match="block size 10, and this run 20"):
        try_open(root, 20)
    assert open_existing(root).names("mentions") == []


@pytest.mark.parametrize("url", [False, True])
def test_topics_are_recorded_and_another_one_of_that_name_is_refused(
    tmp_path: Path, url: bool
) -> None:
    root = f"{SCHEME}://bucket/out" if url else str(tmp_path)

    def open_with(sources: dict[str, str]) -> None:
        with open_output(root, block_size=10, sources=sources):
            pass

    try_open(root)
    open_with({"a": "kafka:c:1"})
    open_with({"b": "kafka:c:2"})
    open_with({"a": "kafka:c:1", "b": "kafka:c:2"})
    for other in ({"a": "kafka:c:3"}, {"c": "kafka:c:4", "b": "kafka:d:2"}):
        with pytest.raises(OutputError, match=r"another topic '[ab]' \(kafka:c:[12], and now"):
            open_with(other)
    try_open(root)
    data = MemoryFiles.objects[f"{root}/pubner.json"] if url else None
    manifest = json.loads(data or (tmp_path / "pubner.json").read_bytes())
    assert manifest["sources"] == {"a": "kafka:c:1", "b": "kafka:c:2"}
    with pytest.raises(OutputError, match="block size 10, and this run 20"):
        try_open(root, 20)


def test_a_manifest_whose_topics_are_no_table_is_refused(tmp_path: Path) -> None:
    values = {"format_version": 1, "block_size": 10, "sources": ["a"]}
    (tmp_path / "pubner.json").write_text(json.dumps(values))
    with pytest.raises(OutputError, match="damaged"):
        try_open(str(tmp_path))


def test_another_format_version_is_refused(tmp_path: Path) -> None:
    (tmp_path / "pubner.json").write_text(json.dumps({"format_version": 99, "block_size": 10}))
    with pytest.raises(OutputError, match="format version 99"):
        try_open(str(tmp_path))


@pytest.mark.parametrize("text", ["", "[]", "{"])
def test_a_damaged_manifest_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "pubner.json").write_text(text)
    with pytest.raises(OutputError, match="damaged"):
        try_open(str(tmp_path))


def test_a_folder_of_someone_else_s_files_is_refused(tmp_path: Path) -> None:
    BlockWriter(store=DiskStore(tmp_path), block_size=10, settings="").write(block([0]))
    with pytest.raises(OutputError, match="not an output of pubner"):
        try_open(str(tmp_path))


def test_a_file_in_the_way_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(OutputError, match="cannot write to the output folder"):
        try_open(str(tmp_path / "out"))


def test_an_output_of_the_first_format_becomes_one_of_the_newest(tmp_path: Path) -> None:
    manifest = tmp_path / MANIFEST
    old = {"format_version": 1, "block_size": 10, "sources": {"a": "kafka:c:1"}, "mine": 7}
    manifest.write_text(json.dumps(old))
    try_open(str(tmp_path))
    found = json.loads(manifest.read_text())
    assert found.pop("id")
    assert found == {**old, "format_version": FORMAT_VERSION}
    manifest.write_text(json.dumps({**old, "format_version": FORMAT_VERSION + 1}))
    with pytest.raises(OutputError, match=rf"format version {FORMAT_VERSION + 1}, and this run"):
        try_open(str(tmp_path))


@pytest.mark.parametrize("url", [False, True])
def test_what_is_missing_is_recorded_until_it_is_read(tmp_path: Path, url: bool) -> None:
    root = f"{SCHEME}://bucket/out" if url else str(tmp_path)
    gap = {"topic": "t", "partition": 1, "begin": 10, "end": 50}
    with open_output(root, block_size=10) as store:
        own = output_id(store)
        assert record_missing(store, [], {}) == []
        assert record_missing(store, [gap], {("t", 1): 50}) == [gap]
    with open_output(root, block_size=10) as store:
        assert output_id(store) == own
        assert record_missing(store, [gap], {("t", 1): 90, ("t", 0): 0}) == [gap]
        assert record_missing(store, [], {("t", 1): 30}) == [{**gap, "end": 30}]
        assert record_missing(store, [], {("t", 1): 10}) == []


def test_a_second_writer_is_refused(tmp_path: Path) -> None:
    refused = pytest.raises(OutputError, match=rf"another run .*process {os.getpid()}\b")
    with open_output(str(tmp_path), block_size=10), refused:
        try_open(str(tmp_path))
    try_open(str(tmp_path))


def _hold(root: str, ready: Connection) -> None:
    with open_output(root, block_size=10) as store:
        assert isinstance(store, DiskStore)
        store.stage("mentions", "a.parquet", b"half")
        ready.send(True)
        ready.recv()


def test_the_lock_of_a_killed_writer_is_free_and_its_leftovers_go(tmp_path: Path) -> None:
    ours, theirs = multiprocessing.Pipe()
    holder = multiprocessing.get_context("fork").Process(target=_hold, args=(str(tmp_path), theirs))
    holder.start()
    assert ours.recv()
    with pytest.raises(OutputError, match="another run"):
        try_open(str(tmp_path))
    assert hidden_files(tmp_path) == [".a.parquet.tmp"]
    holder.kill()
    holder.join()
    with open_output(str(tmp_path), block_size=10):
        assert hidden_files(tmp_path) == []
