"""Benchmark of growth: time per citation and memory over the number of citations."""

import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow.dataset as ds

from benchmarks.citations import BenchCitation, write_xml
from benchmarks.memory import Mark, tree_mb
from benchmarks.pipelines import parquet_size
from tests.support.root import ROOT

STEPS = (1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 200_000, 500_000, 1_000_000)
_BLOCK = 500
_WATCH_SECONDS = 1.0


def growth_entry(marks: Sequence[Mark]) -> dict[str, Any]:
    """Return the time per citation and the memory between steps, and whether they stay flat.

    `time_growth` is the time per citation of the last step over that of the median step, less 1;
    `memory_growth` is the peak memory of the last half over that of the second tenth (after
    warm-up), less 1.
    """
    steps = []
    before = Mark(0, 0.0, 0.0)
    for step in STEPS:
        at = next((mark for mark in marks if mark.citations >= step), None)
        if at is None:
            break
        peak = max(m.memory_mb for m in marks if before.citations < m.citations <= at.citations)
        took = 1000 * (at.seconds - before.seconds) / (at.citations - before.citations)
        steps.append({"citations": at.citations, "ms_per_citation": took, "memory_mb": peak})
        before = at
    total = marks[-1].citations
    times = sorted(step["ms_per_citation"] for step in steps)
    early = [m.memory_mb for m in marks if total / 10 <= m.citations <= total / 5]
    late = [m.memory_mb for m in marks if m.citations >= total / 2]
    return {
        "steps": steps,
        "time_growth": steps[-1]["ms_per_citation"] / times[len(times) // 2] - 1 if steps else None,
        "memory_growth": max(late) / max(early) - 1 if early and late else None,
        "peak_memory_mb": max(mark.memory_mb for mark in marks),
        "curve": [asdict(mark) for mark in thinned(marks, 200)],
    }


def thinned(marks: Sequence[Mark], count: int) -> list[Mark]:
    """Return at most `count` marks and the last, spread evenly."""
    step = -(-len(marks) // count)
    return [*marks[: len(marks) - 1 : step], marks[-1]]


def grow_pipeline(
    citations: Sequence[BenchCitation], *, checkpoint: Path, scratch: Path
) -> tuple[list[Mark], dict[str, float]]:
    """Annotate citations with the whole pipeline in one process, and sample its memory.

    Returns one mark per block, and the bytes of Parquet per citation by kind.
    """
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        source, output = Path(folder) / "citations.xml", Path(folder) / "out"
        write_xml(source, citations)
        words = [sys.executable, "-m", "pubner", "annotate", str(source), f"--output={output}"]
        words += [f"--checkpoint={checkpoint}", f"--block-size={_BLOCK}", "--runner=DirectRunner"]
        process = subprocess.Popen(
            words, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        memory: list[tuple[float, float]] = []
        while process.poll() is None:
            memory.append((time.time(), tree_mb(process.pid)))
            time.sleep(_WATCH_SECONDS)
        if process.returncode:
            raise RuntimeError(f"pubner annotate ended with {process.returncode}")
        table = ds.dataset(output / "citations").to_table(["annotated_at"])
        times = sorted(value.timestamp() for value in table["annotated_at"].to_pylist())
        size = parquet_size(output, len(citations))
    return block_marks(times, memory), size


def block_marks(times: Sequence[float], memory: Sequence[tuple[float, float]]) -> list[Mark]:
    """Return one mark per block, from annotation times of citations and memory over time.

    Counting starts when the first block is done.
    """
    first = sum(1 for value in times if value == times[0])
    marks = []
    place = 0
    for number, value in enumerate(times):
        if number < first or (number + 1 < len(times) and times[number + 1] == value):
            continue
        most = 0.0
        while place < len(memory) and memory[place][0] <= value:
            most = max(most, memory[place][1])
            place += 1
        most = most or memory[min(place, len(memory) - 1)][1]
        marks.append(Mark(number + 1 - first, value - times[0], most))
    return marks
