"""Runs that are killed or stopped, and started again."""

import random
import signal
import time
from pathlib import Path

import pytest

from pipelines.output.store import DiskStore
from pipelines.output.writer import committed_blocks
from tests.support.annotating import annotate, articles, check_output, pubmed_xml
from tests.support.blocks import all_rows
from tests.support.commands import Running, start_pubner

CITATIONS = 60


def words(source: Path, out: Path, checkpoint: Path) -> list[str]:
    return [
        "annotate",
        str(source),
        f"--output={out}",
        f"--checkpoint={checkpoint}",
        "--threads=1",
        "--block-size=3",
        "--chunk-size=1",
    ]


def files_in(out: Path) -> int:
    return sum(1 for path in out.rglob("*") if path.is_file())


def wait_for_files(running: Running, out: Path, count: int) -> None:
    while running.is_alive and files_in(out) < count:
        time.sleep(0.001)


def committed(out: Path, source: Path) -> dict[int, int]:
    """Return when each whole block of `source` was written, by its start."""
    starts = committed_blocks(DiskStore(out), source.name)
    name = f"{source.name}-0-{{:012d}}.parquet"
    return {x: (out / "citations" / name.format(x)).stat().st_mtime_ns for x in starts}


@pytest.mark.timeout(1200)
def test_killed_at_any_moment_and_started_again(tmp_path: Path, checkpoint: Path) -> None:
    source = pubmed_xml(tmp_path / "a.xml", articles(CITATIONS))
    whole = tmp_path / "whole"
    annotate([source], whole, checkpoint, "--block-size=3", "--chunk-size=1")
    out = tmp_path / "out"
    moments = random.Random(7)
    kills = 0
    for _ in range(4):
        before = committed(out, source) if out.exists() else {}
        running = start_pubner(tmp_path / "log", *words(source, out, checkpoint))
        wait_for_files(running, out, files_in(out) + moments.randrange(1, 12))
        time.sleep(moments.random() / 20)
        running.send(signal.SIGKILL)
        kills += running.finish().code == -signal.SIGKILL
        after = committed(out, source)
        assert {start: after[start] for start in before} == before
    assert kills >= 2
    before = committed(out, source)
    assert len(before) < CITATIONS / 3
    done = start_pubner(tmp_path / "log", *words(source, out, checkpoint)).finish()
    assert done.code == 0, done.err
    assert all_rows(out) == all_rows(whole)
    check_output(out)
    after = committed(out, source)
    assert {start: after[start] for start in before} == before
    assert len(after) == CITATIONS / 3


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_asked_to_stop(tmp_path: Path, checkpoint: Path, number: signal.Signals) -> None:
    source = pubmed_xml(tmp_path / "a.xml", articles(600))
    out = tmp_path / "out"
    running = start_pubner(tmp_path / "log", *words(source, out, checkpoint))
    wait_for_files(running, out, 20)
    running.send(number)
    stopped = running.finish()
    assert stopped.code == 128 + number
    said, ended = stopped.lines
    assert f"{number.name}: the block in flight is abandoned" in said
    assert "the same command resumes from there" in ended
    assert number.name in ended
    found = check_output(out)
    assert 0 < len(found["citations"]) < 600
    assert len(found["citations"]) == 3 * len(committed(out, source))


def test_a_second_writer_is_refused_while_the_first_goes_on(
    tmp_path: Path, checkpoint: Path
) -> None:
    source = pubmed_xml(tmp_path / "a.xml", articles(600))
    out = tmp_path / "out"
    first = start_pubner(tmp_path / "first", *words(source, out, checkpoint))
    wait_for_files(first, out, 8)
    second = start_pubner(tmp_path / "second", *words(source, out, checkpoint)).finish()
    assert first.is_alive
    first.send(signal.SIGKILL)
    first.finish()
    assert second.code == 2
    assert "another run is writing" in second.one_line
