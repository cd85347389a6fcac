"""Dead letters of the first and the newest format, read by DuckDB, Polars, pandas and Spark."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import duckdb
import pandas as pd
import polars as pl
import pyarrow.parquet as pq
import pytest

from pipelines.blocks.tables import FORMAT_VERSION
from pipelines.dead_letters.reading import read_dead_letters
from pipelines.dead_letters.selection import Selection
from pipelines.output.manifest import open_existing, open_output
from pipelines.output.store import MANIFEST
from pipelines.output.writer import BlockWriter
from schemas.arrow import DEAD_LETTERS, KINDS
from schemas.errors import OutputError
from schemas.records import DeadLetter
from tests.integration.conftest import need
from tests.support.blocks import block, with_header

Headers = tuple[tuple[str, bytes | None], ...]
TWICE: Headers = (("trace", b"1"), ("trace", b"2"), ("\udce9tat", b"\xff"), ("none", None))
Seen = list[tuple[int, dict[str, bytes], list[dict[str, object]] | None]]
EXPECTED: Seen = [
    (1, {"trace": b"old"}, None),
    (
        11,
        {"trace": b"2", "\N{REPLACEMENT CHARACTER}tat": b"\xff", "none": b""},
        [
            {"key": "trace", "key_bytes": None, "value": b"1"},
            {"key": "trace", "key_bytes": None, "value": b"2"},
            {"key": "\N{REPLACEMENT CHARACTER}tat", "key_bytes": b"\xe9tat", "value": b"\xff"},
            {"key": "none", "key_bytes": None, "value": None},
        ],
    ),
]


def write(root: Path, start: int, headers: Headers) -> None:
    """Write a citation and a dead letter, as a stream does."""
    made = block([start], dead_letters=[start + 1], start=start, source="t", digest="kafka:c:t")
    dead_letters: tuple[DeadLetter, ...] = tuple(
        replace(x, headers=headers) for x in made.dead_letters
    )
    covered = (start, start + 2)
    part = with_header(
        replace(made, dead_letters=dead_letters), complete=False, last=False, coverage=covered
    )
    with open_output(str(root), block_size=10, sources={"t": "kafka:c:t"}) as store:
        BlockWriter(store, 10, "s", merges=True).write(part)


def turn_to_first_format(root: Path) -> None:
    """Make an output one of the first format: no `header_list`, no id, version 1."""
    for kind in KINDS:
        for file in (root / kind).glob("*.parquet"):
            table = pq.read_table(file)
            metadata = {**table.schema.metadata, b"pubner.format_version": b"1"}
            kept = [name for name in table.column_names if name != "header_list"]
            pq.write_table(table.select(kept).replace_schema_metadata(metadata), file)
    manifest = json.loads((root / MANIFEST).read_text())
    old = {"format_version": 1, "block_size": 10, "sources": manifest["sources"]}
    (root / MANIFEST).write_text(json.dumps(old))


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """An output of the first format that the newest went on with."""
    root = tmp_path / "out"
    write(root, 0, (("trace", b"old"),))
    turn_to_first_format(root)
    write(root, 10, TWICE)
    return root


def by_duckdb(folder: Path) -> Seen:
    with duckdb.connect() as connection:
        return connection.execute(
            'SELECT "offset", headers, header_list '
            f"FROM read_parquet('{folder}/*.parquet', union_by_name = true) ORDER BY 1"
        ).fetchall()


def by_polars(folder: Path) -> Seen:
    files = [pl.scan_parquet(x) for x in sorted(folder.glob("*.parquet"))]
    rows = pl.concat(files, how="diagonal").sort("offset").collect()
    return [
        (x["offset"], _map(x["headers"]), x["header_list"])
        for x in rows.select("offset", "headers", "header_list").to_dicts()
    ]


def by_pandas(folder: Path) -> Seen:
    rows = pd.read_parquet(folder, schema=DEAD_LETTERS).sort_values("offset")
    return [
        (int(offset), _map(headers), None if found is None else list(found))
        for offset, headers, found in zip(
            rows["offset"], rows["headers"], rows["header_list"], strict=True
        )
    ]


def _map(headers: object) -> dict[str, bytes]:
    """Return a map that a reader gives as a dictionary, or as a list of pairs or of structs."""
    if isinstance(headers, dict):
        return headers
    assert isinstance(headers, list)
    pairs = [(x["key"], x["value"]) if isinstance(x, dict) else x for x in headers]
    found = dict(pairs)
    assert len(found) == len(pairs)
    return found


@pytest.mark.parametrize("read", [by_duckdb, by_polars, by_pandas])
def test_one_query_reads_files_of_both_formats(output: Path, read: Callable[[Path], Seen]) -> None:
    assert read(output / "dead_letters") == EXPECTED


_SPARK = """
import json, sys
from pyspark.sql import SparkSession
settings = {"spark.ui.enabled": "false", "spark.driver.host": "127.0.0.1",
            "spark.driver.bindAddress": "127.0.0.1", "spark.sql.shuffle.partitions": "1"}
builder = SparkSession.builder.master("local[1]")
for name, value in settings.items():
    builder = builder.config(name, value)
spark = builder.getOrCreate()
rows = spark.read.option("mergeSchema", "true").parquet(sys.argv[1]).orderBy("offset").collect()
hexed = lambda data: None if data is None else bytes(data).hex()
print(json.dumps([
    [row["offset"], {key: hexed(value) for key, value in row["headers"].items()},
     row["header_list"] and [{"key": x["key"], "key_bytes": hexed(x["key_bytes"]),
                              "value": hexed(x["value"])} for x in row["header_list"]]]
    for row in rows
]))
spark.stop()
"""


def test_spark_reads_files_of_both_formats(output: Path) -> None:
    pytest.importorskip("pyspark", reason="pyspark is not installed")
    need("java")
    done = subprocess.run(
        [sys.executable, "-c", _SPARK, str(output / "dead_letters")],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr

    def unhexed(data: str | None) -> bytes | None:
        return None if data is None else bytes.fromhex(data)

    found = [
        (
            offset,
            {key: unhexed(value) for key, value in headers.items()},
            listed
            and [{**x, **{n: unhexed(x[n]) for n in ("key_bytes", "value")}} for x in listed],
        )
        for offset, headers, listed in json.loads(done.stdout.splitlines()[-1])
    ]
    assert found == EXPECTED


def test_an_output_of_the_first_format_is_gone_on_with(output: Path) -> None:
    manifest = json.loads((output / MANIFEST).read_text())
    assert manifest["format_version"] == FORMAT_VERSION == 2
    dead_letters = {
        dead_letter.position.offset: dead_letter.headers
        for found in read_dead_letters(open_existing(str(output)), Selection())
        for dead_letter in found.dead_letters
    }
    assert dead_letters == {1: (("trace", b"old"),), 11: TWICE}
    # A block of the first format that is merged with more is one of the newest.
    part = block([2], dead_letters=[3], source="t", digest="kafka:c:t", complete=False, last=False)
    with open_output(str(output), block_size=10, sources={"t": "kafka:c:t"}) as store:
        BlockWriter(store, 10, "s", merges=True).write(with_header(part, coverage=(2, 4), base=2))
    table = pq.read_table(next((output / "dead_letters").glob("*000000.parquet")))
    assert table.schema.metadata[b"pubner.format_version"] == b"2"
    assert table["header_list"].to_pylist() == [
        [{"key": "trace", "key_bytes": None, "value": b"old"}],
        [],
    ]


def test_a_format_to_come_is_refused_in_one_line(output: Path) -> None:
    manifest = json.loads((output / MANIFEST).read_text())
    (output / MANIFEST).write_text(json.dumps({**manifest, "format_version": 3}))
    with pytest.raises(OutputError, match="has format version 3, and this run 2") as caught:
        write(output, 20, ())
    assert "\n" not in str(caught.value)
