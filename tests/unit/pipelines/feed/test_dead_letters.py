"""The dead letters of a feed: one a position."""

from pathlib import Path

import pyarrow.parquet as pq

from pipelines.feed.dead_letters import BLOCK_SIZE, LetterBook
from pipelines.output.store import DiskStore
from schemas.records import Stage
from tests.support.blocks import NOW
from worker.readers.failures import Failure


def book(folder: Path) -> LetterBook:
    return LetterBook(DiskStore(folder), lambda: NOW)


def add(letters: LetterBook, *offsets: int, error: str = "e") -> None:
    for offset in offsets:
        failure = Failure(Stage.PARSE, "RecordError", error, b"bytes")
        letters.add(offset, failure, key=b"1", headers=(("h", b"v"),))


def rows(folder: Path) -> list[tuple[str, int, str]]:
    files = sorted((folder / "dead_letters").glob("*.parquet"))
    found = [row for path in files for row in pq.read_table(path).to_pylist()]
    return [(row["source"], row["offset"], row["error"]) for row in found]


def test_letters_are_in_place_after_a_flush(tmp_path: Path) -> None:
    letters = book(tmp_path)
    letters.begin("a.xml", "d1", anew=True)
    add(letters, 3, BLOCK_SIZE + 1)
    assert rows(tmp_path) == []
    letters.flush()
    assert rows(tmp_path) == [("a.xml", 3, "e"), ("a.xml", BLOCK_SIZE + 1, "e")]
    assert letters.counts == {"parse": 2}
    [row] = pq.read_table(
        next((tmp_path / "dead_letters").glob("*-000000000000.parquet"))
    ).to_pylist()
    assert (row["stage"], row["payload"], row["key"]) == ("parse", b"bytes", b"1")
    assert row["headers"] == [("h", b"v")]


def test_a_run_that_goes_on_keeps_what_is_there_once(tmp_path: Path) -> None:
    first = book(tmp_path)
    first.begin("a.xml", "d1", anew=True)
    add(first, 1, 5)
    first.flush()
    second = book(tmp_path)
    second.begin("a.xml", "d1", anew=False)
    add(second, 5, 6, error="again")
    second.flush()
    assert rows(tmp_path) == [("a.xml", 1, "e"), ("a.xml", 5, "again"), ("a.xml", 6, "again")]


def test_a_file_that_is_read_anew_loses_its_own_letters_alone(tmp_path: Path) -> None:
    letters = book(tmp_path)
    for source in ("a.xml", "b.xml"):
        letters.begin(source, "d1", anew=True)
        add(letters, 1)
    letters.flush()
    letters.begin("a.xml", "d1", anew=True)
    assert rows(tmp_path) == [("b.xml", 1, "e")]
    assert not letters.holds("a.xml")
    assert letters.holds("b.xml")
    letters.begin("b.xml", "of another content", anew=False)
    assert rows(tmp_path) == []


def test_beginning_another_file_puts_the_letters_of_the_one_before_in_place(tmp_path: Path) -> None:
    letters = book(tmp_path)
    letters.begin("a.xml", "d1", anew=True)
    add(letters, 1)
    letters.begin("b.xml", "d2", anew=True)
    assert rows(tmp_path) == [("a.xml", 1, "e")]
