"""The dead letters of a feed: one a position."""

from pathlib import Path

import pyarrow.parquet as pq

from pipelines.feed.dead_letters import BLOCK_SIZE, DeadLetterWriter
from pipelines.output.store import DiskStore
from schemas.records import Stage
from tests.support.blocks import NOW
from worker.readers.failures import Failure


def dead_letter_writer(folder: Path) -> DeadLetterWriter:
    return DeadLetterWriter(DiskStore(folder), lambda: NOW)


def add(writer: DeadLetterWriter, *offsets: int, error: str = "e") -> None:
    for offset in offsets:
        failure = Failure(Stage.PARSE, "RecordError", error, b"bytes")
        writer.add(offset, failure, key=b"1", headers=(("h", b"v"),))


def rows(folder: Path) -> list[tuple[str, int, str]]:
    files = sorted((folder / "dead_letters").glob("*.parquet"))
    found = [row for path in files for row in pq.read_table(path).to_pylist()]
    return [(row["source"], row["offset"], row["error"]) for row in found]


def test_dead_letters_are_written_after_a_flush(tmp_path: Path) -> None:
    writer = dead_letter_writer(tmp_path)
    writer.begin("a.xml", "d1", from_scratch=True)
    add(writer, 3, BLOCK_SIZE + 1)
    assert rows(tmp_path) == []
    writer.flush()
    assert rows(tmp_path) == [("a.xml", 3, "e"), ("a.xml", BLOCK_SIZE + 1, "e")]
    assert writer.counts == {"parse": 2}
    [row] = pq.read_table(
        next((tmp_path / "dead_letters").glob("*-000000000000.parquet"))
    ).to_pylist()
    assert (row["stage"], row["payload"], row["key"]) == ("parse", b"bytes", b"1")
    assert row["headers"] == [("h", b"v")]


def test_a_resumed_run_writes_each_dead_letter_once(tmp_path: Path) -> None:
    first = dead_letter_writer(tmp_path)
    first.begin("a.xml", "d1", from_scratch=True)
    add(first, 1, 5)
    first.flush()
    second = dead_letter_writer(tmp_path)
    second.begin("a.xml", "d1", from_scratch=False)
    add(second, 5, 6, error="again")
    second.flush()
    assert rows(tmp_path) == [("a.xml", 1, "e"), ("a.xml", 5, "again"), ("a.xml", 6, "again")]


def test_a_file_read_from_scratch_loses_only_its_own_dead_letters(tmp_path: Path) -> None:
    writer = dead_letter_writer(tmp_path)
    for source in ("a.xml", "b.xml"):
        writer.begin(source, "d1", from_scratch=True)
        add(writer, 1)
    writer.flush()
    writer.begin("a.xml", "d1", from_scratch=True)
    assert rows(tmp_path) == [("b.xml", 1, "e")]
    assert not writer.holds("a.xml")
    assert writer.holds("b.xml")
    writer.begin("b.xml", "of another content", from_scratch=False)
    assert rows(tmp_path) == []


def test_beginning_another_file_writes_the_dead_letters_of_the_one_before(tmp_path: Path) -> None:
    writer = dead_letter_writer(tmp_path)
    writer.begin("a.xml", "d1", from_scratch=True)
    add(writer, 1)
    writer.begin("b.xml", "d2", from_scratch=True)
    assert rows(tmp_path) == [("a.xml", 1, "e")]
