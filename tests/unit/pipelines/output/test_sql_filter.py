"""Conditions over the columns of `citations`: what they match, and what is refused."""

import gc
import os
import pickle
import signal
import threading
import time
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.output.sql_filter import parse_condition
from schemas.arrow import CITATIONS
from schemas.errors import SettingsError
from tests.support.processes import descendants

secret = pa.table({"x": [1]})
"""A table in a variable, which no condition may see."""


def table(*changes: dict[str, Any]) -> pa.Table:
    """Return citations with the offsets 0, 1, 2 and so on."""
    row = {
        "pmid": 7,
        "pmid_version": 1,
        "status": "annotated",
        "text": "Title\nBody",
        "text_sha256": "0",
        "retracted": False,
        "date_revised": date(2020, 1, 31),
        "year": 2020,
        "mention_count": 0,
        "truncated": False,
        "checkpoint_id": "old",
        "annotated_at": datetime(2026, 1, 31, 12, tzinfo=UTC),
        "source": "a.xml",
        "partition": 0,
    }
    rows = [{**row, "offset": offset, **change} for offset, change in enumerate(changes)]
    return pa.Table.from_pylist(rows, schema=CITATIONS)


def matches(sql: str, *changes: dict[str, Any]) -> list[bool]:
    with parse_condition(sql).evaluating() as evaluate:
        found: list[bool] = evaluate(table(*changes)).to_pylist()
    return found


@pytest.mark.parametrize(
    ("sql", "changes"),
    [
        ("checkpoint_id != 'new'", [{}, {"checkpoint_id": "new"}]),
        ("year < 2021 AND NOT retracted", [{}, {"year": 2021}, {"retracted": True}]),
        ("year > 2019", [{}, {"year": None}]),
        ("text LIKE '%Body'", [{}, {"text": "Title\n"}, {"text": None}]),
        ('"offset" = 0 AND partition = 0', [{}, {}]),
        ("date_revised = '2020-01-31'", [{}, {"date_revised": date(2020, 2, 1)}]),
        (
            "annotated_at < '2026-01-31 12:30:00'",
            [{}, {"annotated_at": datetime(2026, 1, 31, 13, tzinfo=UTC)}],
        ),
        ("source IN ('a.xml', 'b.xml') -- these two", [{}, {"source": "c.xml"}]),
        ("pmid IN (SELECT 7)", [{}, {"pmid": 8}]),
    ],
)
def test_a_condition_matches_the_first_row_alone(sql: str, changes: list[dict[str, Any]]) -> None:
    assert matches(sql, *changes) == [True, *(False for _ in changes[1:])]


def test_times_are_in_utc_whatever_the_machine_s_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "TZ", "Asia/Tokyo")
    assert matches("annotated_at = '2026-01-31 12:00:00'", {}) == [True]
    assert matches("hour(annotated_at) = 12", {}) == [True]


def test_the_mask_is_that_of_the_rows_in_their_order() -> None:
    with parse_condition("year >= 2020").evaluating() as evaluate:  # one process for all examples

        @settings(max_examples=50, deadline=None)
        @given(st.lists(st.sampled_from([None, 1999, 2020, 2026]), max_size=40))
        def holds(years: list[int | None]) -> None:
            expected = [year is not None and year >= 2020 for year in years]
            assert evaluate(table(*({"year": year} for year in years))).to_pylist() == expected

        holds()


def test_the_text_is_read_only_where_it_is_needed() -> None:
    assert "text" not in parse_condition("checkpoint_id != 'new'").columns
    assert "text" not in parse_condition("text_sha256 = 'text'").columns
    assert "text" in parse_condition("length(text) > 3").columns
    assert "text" in parse_condition("COLUMNS(*) IS NOT NULL").columns
    condition = pickle.loads(pickle.dumps(parse_condition("year = 2020")))
    with condition.evaluating() as evaluate:
        assert evaluate(table({}, {}).drop_columns(["text"])).to_pylist() == [True, True]


@pytest.mark.parametrize(
    ("sql", "reason"),
    [
        ("", "SELECT clause"),
        ("checkpoint_id !=", "syntax error"),
        ("chekpoint = 'a'", 'column "chekpoint" not found'),
        ("offset = 5", '"offset"'),
        ("1=1; DROP TABLE citations", "expected one SQL condition"),
        ("1=1) OR (1=1", "syntax error"),
        ("true;", "syntax error"),
        ("true, false", "single expression"),
        ("true FROM range(3)", "expected one SQL condition"),
        ("true UNION SELECT false", "expected one SQL condition"),
        ("true LIMIT 1", "expected one SQL condition"),
        ("true /* open", "unterminated"),
        ("source = ?", "parameter"),
        ("max(pmid) = pmid", "aggregates"),
        ("row_number() OVER () = 1", "window"),
        ("nonesuch(text)", "does not exist"),
        ("*", "STAR"),
        ("5", "type INTEGER"),
        ("checkpoint_id", "type VARCHAR"),
        ("NULL", "type NULL"),
        ("\ud800", "surrogate"),
    ],
)
def test_what_is_no_condition_is_one_line(sql: str, reason: str) -> None:
    with pytest.raises(SettingsError) as caught:
        parse_condition(sql)
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_condition_reaches_nothing_but_the_rows(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("x\n1\n")
    for query in (
        f"SELECT * FROM read_csv('{file}')",
        f"SELECT * FROM '{file}'",
        f"SELECT * FROM read_text('{file}')",
        f"SELECT * FROM glob('{tmp_path}/*')",
        "SELECT * FROM read_parquet('s3://bucket/key')",
        "SELECT * FROM read_csv('https://127.0.0.1/a.csv')",
        "SELECT * FROM secret",
        f"SELECT * FROM query('SELECT * FROM read_csv(''{file}'')')",
    ):
        with pytest.raises(SettingsError, match=r"disabled by configuration|does not exist"):
            parse_condition(f"EXISTS ({query})")


def test_a_value_that_cannot_be_evaluated_is_one_line() -> None:
    with pytest.raises(SettingsError, match="Could not convert string") as caught:
        matches("CAST(text AS INTEGER) = 1", {})
    assert "\n" not in str(caught.value)


def evaluators() -> list[psutil.Process]:
    gc.collect()
    return [x for x in descendants(os.getpid()) if "pipelines.output.sql_process" in x.cmdline()]


@pytest.mark.parametrize(
    "sql",
    [
        "(SELECT count(*) FROM range(100000000000)) > 0",
        "(WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM t) SELECT max(n) FROM t) > 0",
        "levenshtein(repeat('a', 300000), repeat('b', 300000)) > 0",
    ],
)
def test_a_condition_that_takes_too_long_is_one_line(sql: str) -> None:
    with pytest.raises(SettingsError, match="takes more than 1 s") as caught:
        parse_condition(sql, seconds=1)
    assert "\n" not in str(caught.value)
    assert evaluators() == []


def test_it_may_take_too_long_with_the_rows_alone() -> None:
    sql = "levenshtein(repeat(text, 100000), repeat(text, 100000)) > 0"
    condition = parse_condition(sql)
    with condition.evaluating(seconds=1) as evaluate:
        rows = table({"text": "abcdefgh"})
        with pytest.raises(SettingsError, match="takes more than 1 s"):
            evaluate(rows)
    with condition.evaluating() as evaluate:
        assert evaluate(table({"text": None})).to_pylist() == [False], "it is asked again"


@pytest.mark.parametrize(
    "sql",
    [
        "(SELECT list(a) FROM range(1000000000) t(a)) IS NOT NULL",
        "(SELECT string_agg(repeat('x', 1000)) FROM range(10000000)) IS NOT NULL",
        "(SELECT max(a) FROM (SELECT * FROM range(900000000) t(a) ORDER BY hash(a)) ) > 0",
        "length(repeat(text, 40000000)) > 0",
    ],
)
def test_a_condition_that_needs_too_much_memory_is_one_line(sql: str) -> None:
    with pytest.raises(SettingsError, match="of memory that are allowed") as caught:
        matches(sql, {"text": "x" * 100})
    assert "\n" not in str(caught.value)
    assert "1,024 MiB" in str(caught.value)


def test_what_interrupts_an_evaluation_ends_it_at_once() -> None:
    class AskedError(Exception):
        pass

    def stop() -> None:
        raise AskedError

    condition = parse_condition("(SELECT count(*) FROM range(pmid * 100000000000)) > 0")
    with condition.evaluating(check=stop) as evaluate, pytest.raises(AskedError):
        evaluate(table({}))
    assert evaluators() == []


def test_ctrl_c_ends_it_at_once() -> None:
    condition = parse_condition("(SELECT count(*) FROM range(pmid * 100000000000)) > 0")
    begun = threading.Event()
    before = signal.signal(signal.SIGINT, signal.default_int_handler)

    def interrupt() -> None:
        begun.wait()
        time.sleep(0.3)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    try:
        begun.set()
        with condition.evaluating() as evaluate, pytest.raises(KeyboardInterrupt):
            evaluate(table({}))
    finally:
        thread.join()
        signal.signal(signal.SIGINT, before)
    assert evaluators() == []


def test_a_process_that_is_gone_is_another_next_time() -> None:
    condition = parse_condition("year = 2020")
    [process] = evaluators()
    process.kill()
    process.wait()
    with condition.evaluating() as evaluate, pytest.raises(SettingsError):
        evaluate(table({}))
    with condition.evaluating() as evaluate:
        assert evaluate(table({})).to_pylist() == [True]
