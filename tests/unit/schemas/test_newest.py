"""The view of what counts now, against a plain reading of its rules."""

import functools
from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.arrow import CITATIONS
from schemas.newest import newest_sql
from schemas.records import ALL_VERSIONS
from worker.readers.formats import SUFFIXES, detect_format

Row = dict[str, Any]
OLD, NEW = date(2020, 1, 1), date(2026, 1, 1)


def row(
    source: str,
    offset: int,
    *,
    pmid: int = 1,
    partition: int = 0,
    version: int = 1,
    revised: date | None = None,
    deleted: bool = False,
) -> Row:
    return {
        "pmid": pmid,
        "pmid_version": version,
        "status": "deleted" if deleted else "annotated",
        "text": None if deleted else "A\nB",
        "text_sha256": None if deleted else "x",
        "retracted": False,
        "date_revised": revised,
        "year": None,
        "mention_count": 0,
        "truncated": False,
        "checkpoint_id": "c",
        "annotated_at": datetime(2026, 1, 1, tzinfo=UTC),
        "source": source,
        "partition": partition,
        "offset": offset,
    }


def place(found: Row) -> tuple[str, int, int]:
    return (found["source"], found["partition"], found["offset"])


@functools.cache
def database() -> duckdb.DuckDBPyConnection:
    """One database for all examples of a process: to open one takes longer than to query it."""
    return duckdb.connect()


def newest(rows: Sequence[Row]) -> list[Row]:
    """Return what the view says of `rows`, by PMID."""
    connection = database()
    connection.register("given", pa.Table.from_pylist(list(rows), schema=CITATIONS))
    # As a relation of Arrow's cannot stand in a view that is kept, make it a table.
    connection.execute("CREATE OR REPLACE TABLE citations AS SELECT * FROM given")
    connection.unregister("given")
    connection.execute(newest_sql())
    cursor = connection.execute("SELECT * FROM newest_citations ORDER BY pmid")
    assert [column[0] for column in cursor.description or ()] == CITATIONS.names
    return [dict(zip(CITATIONS.names, values, strict=True)) for values in cursor.fetchall()]


def log_of(found: Row) -> object:
    is_file = found["source"].endswith((".xml", ".jsonl.gz")) and found["partition"] == 0
    return "files" if is_file else place(found)[:2]


def deletes(deletion: Row, other: Row) -> bool:
    """Whether a deletion is of a record's version."""
    named = deletion["pmid_version"]
    return deletion["status"] == "deleted" and named in (ALL_VERSIONS, other["pmid_version"])


def expected(rows: Sequence[Row]) -> list[tuple[str, int, int]]:
    """Return the places of the rows that count, by PMID, as the rules read."""
    found = []
    for pmid in sorted({x["pmid"] for x in rows}):
        records = sorted((x for x in rows if x["pmid"] == pmid), key=place)
        citations = [x for x in records if x["status"] != "deleted"]

        def behind(one: Row, records: Sequence[Row]) -> list[Row]:
            return [x for x in records if log_of(x) == log_of(one) and place(x) > place(one)]

        holding = [
            x
            for x in records
            if x["status"] == "deleted"
            and not any(deletes(x, other) for other in behind(x, citations))
        ]
        alive = [
            x
            for x in citations
            if not any(deletes(other, x) for other in (*behind(x, records), *holding))
        ]
        best = max(
            alive or holding,
            key=lambda x: (x["pmid_version"], x["date_revised"] or date.min, *place(x)),
        )
        found.append(place(best))
    return found


@pytest.mark.parametrize(
    ("rows", "winner"),
    [
        ([row("t", 0, revised=NEW), row("t", 1, revised=OLD)], ("t", 0, 0)),
        ([row("t", 0), row("t", 1, revised=OLD)], ("t", 0, 1)),
        ([row("t", 1), row("t", 0, revised=OLD)], ("t", 0, 0)),
        ([row("t", 0, version=2), row("t", 1, version=1)], ("t", 0, 0)),
        # the version comes before the date
        ([row("t", 0, version=2, revised=OLD), row("t", 1, revised=NEW)], ("t", 0, 0)),
        ([row("t", 0, version=10, revised=OLD), row("t", 1, version=9, revised=NEW)], ("t", 0, 0)),
        ([row("t", 0, version=2), row("t", 1, revised=NEW)], ("t", 0, 0)),
        # a deletion of one version voids that alone, of all voids all
        ([row("t", 0), row("t", 1, version=2), row("t", 2, version=2, deleted=True)], ("t", 0, 0)),
        ([row("t", 0), row("t", 1, version=2), row("t", 2, deleted=True)], ("t", 0, 1)),
        ([row("t", 0), row("t", 1, version=2), row("t", 2, version=0, deleted=True)], ("t", 0, 2)),
        (
            [
                row("t", 0),
                row("t", 1, version=2),
                row("t", 2, version=0, deleted=True),
                row("t", 3),
            ],
            ("t", 0, 3),
        ),
        # in whatever log: of a version, of all though the deletion of a version follows
        (
            [row("p.xml", 0, version=2), row("p.xml", 1), row("t", 0, version=2, deleted=True)],
            ("p.xml", 0, 1),
        ),
        (
            [
                row("p.xml", 0, version=2),
                row("t", 0, version=0, deleted=True),
                row("t", 1, deleted=True),
            ],
            ("t", 0, 1),
        ),
        # a version that follows its deletion is made again; another does not make it so
        (
            [row("t", 0, version=2), row("t", 1, version=2, deleted=True), row("t", 2, version=2)],
            ("t", 0, 2),
        ),
        ([row("t", 0, version=2), row("t", 1, version=2, deleted=True), row("t", 2)], ("t", 0, 2)),
        ([row("t", 0), row("t", 1, deleted=True), row("q.xml", 0, revised=NEW)], ("t", 0, 1)),
        ([row("t", 0), row("t", 1)], ("t", 0, 1)),
        # a deletion voids what was before it, however new, and not what comes behind it
        ([row("t", 0, revised=NEW), row("t", 1, deleted=True)], ("t", 0, 1)),
        (
            [row("t", 0, revised=NEW), row("t", 1, deleted=True), row("t", 2, revised=OLD)],
            ("t", 0, 2),
        ),
        # a later update file deletes, and a still later one makes again
        ([row("p1.xml", 5, revised=NEW), row("p2.xml", 0, deleted=True)], ("p2.xml", 0, 0)),
        (
            [row("p1.xml", 5, revised=NEW), row("p2.xml", 9, deleted=True), row("p3.xml", 0)],
            ("p3.xml", 0, 0),
        ),
        # a deletion in one log holds whatever another log has
        ([row("p1.xml", 0, revised=NEW), row("t", 7, deleted=True)], ("t", 0, 7)),
        ([row("a", 0, deleted=True), row("b", 0, revised=NEW)], ("a", 0, 0)),
        # a partition is a log of its own
        ([row("t", 9, partition=1), row("t", 3, partition=0)], ("t", 1, 9)),
    ],
)
def test_cases(rows: list[Row], winner: tuple[str, int, int]) -> None:
    [found] = newest(rows)
    assert place(found) == winner
    assert expected(rows) == [winner]


PLACES = st.tuples(
    st.sampled_from(["p1.xml", "p2.xml", "q.jsonl.gz", "topic", "other"]),
    st.integers(0, 1),
    st.integers(0, 5),
)
ROWS = st.lists(
    st.builds(
        lambda at, pmid, version, revised, deleted: row(
            at[0],
            at[2],
            pmid=pmid,
            partition=at[1],
            version=version,
            revised=revised,
            deleted=deleted,
        ),
        PLACES,
        st.integers(1, 2),
        st.integers(1, 3),
        st.sampled_from([None, OLD, NEW]),
        st.sampled_from([False, False, True]),
    )
    | st.builds(
        lambda at, pmid: row(
            at[0], at[2], pmid=pmid, partition=at[1], version=ALL_VERSIONS, deleted=True
        ),
        PLACES,
        st.integers(1, 2),
    ),
    unique_by=place,
    max_size=14,
)


@settings(max_examples=400, deadline=None)
@given(ROWS)
def test_any_history(rows: list[Row]) -> None:
    assert [place(x) for x in newest(rows)] == expected(rows)


def test_over_the_files_of_an_output_with_the_mentions_joined(tmp_path: Path) -> None:
    (tmp_path / "citations").mkdir()
    rows = [row("t", 0), row("t", 1), row("t", 2, pmid=2), row("t", 3, pmid=2, deleted=True)]
    for number, part in enumerate((rows[:2], rows[2:])):
        table = pa.Table.from_pylist(part, schema=CITATIONS)
        pq.write_table(table, tmp_path / "citations" / f"{number}.parquet")
    with duckdb.connect() as connection:
        connection.execute(
            f"CREATE VIEW citations AS SELECT * FROM read_parquet('{tmp_path}/citations/*.parquet')"
        )
        for _ in range(2):  # it may be made again
            connection.execute(newest_sql())
        found = connection.execute(
            'SELECT pmid, status, "offset" FROM newest_citations ORDER BY pmid'
        ).fetchall()
    assert found == [(1, "annotated", 1), (2, "deleted", 3)]


def test_every_format_of_files_is_known() -> None:
    for suffix in SUFFIXES:
        for name in (f"p1{suffix}", f"P1{suffix.upper()}.GZ"):
            detect_format(name)
            rows = [row(name, 5), row(f"z{name}", 0, deleted=True), row(f"zz{name}", 0)]
            assert [place(x) for x in newest(rows)] == [(f"zz{name}", 0, 0)]
