"""Large records: each is kept whole, and memory holds a few of them, not a block."""

import gzip
import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipelines.output.store import DiskStore
from pipelines.output.writer import committed_blocks
from tests.support.annotating import annotate, article, pubmed_xml
from tests.support.blocks import all_rows, hidden_files
from tests.support.root import ROOT

_RUN = """
import sys

from pubner import cli

code = cli.main(sys.argv[1:])
with open("/proc/self/status", encoding="ascii") as status:
    [peak] = [line.split()[1] for line in status if line.startswith("VmHWM:")]
print(int(peak) // 1024)
sys.exit(code)
"""
# ru_maxrss would do as well, did Linux not carry it over from the process that started this one.
LINES, LINE_BYTES = 40, 30_000_000
GOOD = json.dumps({"pmid": 1, "title": "Cystic fibrosis.", "abstract": ""}).encode()


def peak_mib(source: Path, output: Path, checkpoint: Path) -> int:
    """Annotate in a process of its own; return the most memory that it held, in MiB."""
    words = ["annotate", str(source), f"--output={output}", f"--checkpoint={checkpoint}"]
    done = subprocess.run(
        [sys.executable, "-c", _RUN, *words, "--threads=1"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return int(done.stdout.splitlines()[-1])


@pytest.mark.timeout(1200)
def test_a_small_file_of_large_lines_takes_little_memory(tmp_path: Path, checkpoint: Path) -> None:
    one = tmp_path / "one.jsonl"
    one.write_bytes(GOOD + b"\n")
    bomb = tmp_path / "bomb.jsonl.gz"
    with gzip.open(bomb, "wb", compresslevel=1) as stream:
        for number in range(LINES):
            stream.write(b"%03d" % number + b"x" * (LINE_BYTES - 3) + b"\n")
        stream.write(GOOD + b"\n")
    small = peak_mib(one, tmp_path / "small", checkpoint)
    large = peak_mib(bomb, tmp_path / "large", checkpoint)
    assert large - small < 500
    assert large < 1536
    [file] = (tmp_path / "large" / "dead_letters").glob("*.parquet")
    offset = 0
    for batch in pq.ParquetFile(file).iter_batches(1, columns=["offset", "payload"]):
        assert batch["offset"].to_pylist() == [offset]
        expected = b"%03d" % offset + b"x" * (LINE_BYTES - 3)
        [payload] = batch["payload"].to_pylist()
        assert hashlib.sha256(payload).digest() == hashlib.sha256(expected).digest()
        offset += 1
    assert offset == LINES
    citations = pq.read_table(tmp_path / "large" / "citations").to_pylist()
    assert [(row["offset"], row["pmid"]) for row in citations] == [(LINES, 1)]
    [footer] = committed_blocks(DiskStore(tmp_path / "large"), bomb.name).values()
    assert (footer.records, footer.complete, footer.last) == (LINES + 1, True, True)


def test_a_block_of_large_records_is_resumed_and_made_anew_like_any(
    tmp_path: Path, checkpoint: Path, other_checkpoint: Path
) -> None:
    padding = "<PersonalNameSubjectList>" + "x" * 6_000_000 + "</PersonalNameSubjectList>"
    broken = [article("none").replace("</Article>", f"</Article>{padding}")] * 6
    parts = [article(1, "BRCA1 and asthma"), *broken, article(2, "TP53 and cancer")]
    source = pubmed_xml(tmp_path / "a.xml", parts)
    out = tmp_path / "out"
    first = annotate([source], out, checkpoint, "--block-size=100")
    assert (first["citations"], first["dead_letters"], first["blocks"]) == (2, 6, 1)
    before = all_rows(out)
    assert [len(row["payload"]) > 6_000_000 for row in before["dead_letters"]] == [True] * 6
    again = annotate([source], out, checkpoint, "--block-size=100")
    assert again["blocks_written_now"] == 0
    assert all_rows(out) == before
    other = annotate([source], out, other_checkpoint, "--block-size=100")
    assert (other["blocks_written_now"], other["dead_letters"]) == (1, 6)
    assert {row["task"] for row in all_rows(out)["mentions"]} <= {"jnlpba"}
    assert hidden_files(out) == []
