"""Benchmark of the whole pipeline: `pubner annotate`, PubMed XML to Parquet, on each runner."""

import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow.dataset as ds
import pyarrow.parquet as pq

from benchmarks.citations import BenchCitation, repeated, write_xml
from benchmarks.results import Sample
from tests.support.root import ROOT

BLOCK = 250
FILES = 4
_PUBNER = (sys.executable, "-m", "pubner")


@dataclass(frozen=True, slots=True)
class PipelinePlan:
    """A pipeline row: the runner's options, the number of parallel blocks, and the threads.

    `threads` None is pubner's default; `flink` requires the Flink cluster.
    """

    runner: Sequence[str]
    beam: Sequence[str] = ()
    parallelism: int = 1
    threads: int | None = None
    flink: bool = False

    def cores(self, all_cores: int) -> int:
        """The number of cores that the row may use."""
        return min(all_cores, self.parallelism * (self.threads or all_cores))


PLANS: Mapping[str, PipelinePlan] = {
    "pipeline-direct": PipelinePlan(["--runner=DirectRunner"]),
    "pipeline-direct-1": PipelinePlan(["--runner=DirectRunner"], threads=1),
    "pipeline-prism": PipelinePlan(["--runner=PrismRunner"]),
    "pipeline-flink-1": PipelinePlan(
        ["--runner=FlinkRunner"], ["--parallelism=1"], threads=1, flink=True
    ),
    "pipeline-flink-2": PipelinePlan(
        ["--runner=FlinkRunner"], ["--parallelism=2"], parallelism=2, threads=1, flink=True
    ),
}


def citations_needed(rate: float, *, seconds: float, parallelism: int, block: int) -> int:
    """Return the number of citations that take `seconds` at about `rate` citations/s.

    Plus a fifth, plus the blocks that cover start-up; rounded up to whole blocks per file.
    """
    wanted = max(1.2 * rate * seconds, 2 * block) + parallelism * block
    return FILES * block * max(1, math.ceil(wanted / (FILES * block)))


def steady_rate(
    times: Sequence[float], pieces: Sequence[int], *, parallelism: int, block: int
) -> Sample:
    """Return the rate of a run without start-up, from the annotation times of citations.

    The citations of a block have the same time. Counting starts when as many blocks are done as run
    in parallel: by then each worker has loaded its model and done about one block.
    """
    order = sorted(range(len(times)), key=lambda number: times[number])
    first = min(parallelism * block, len(order) - 1)
    begun = times[order[first - 1]]
    counted = order[first:]
    return Sample(
        citations=len(counted),
        pieces=sum(pieces[number] for number in counted),
        seconds=times[order[-1]] - begun,
    )


@dataclass(frozen=True, slots=True)
class PipelineBench:
    """The inputs of pipeline runs: citations, checkpoint, and a scratch folder."""

    citations: Sequence[BenchCitation]
    checkpoint: str
    scratch: Path
    block: int = BLOCK

    def run(
        self, plan: PipelinePlan, *, count: int, flink_options: Sequence[str]
    ) -> tuple[Sample, dict[str, float]]:
        """Annotate `count` citations once; also return the bytes of Parquet per citation."""
        given = repeated(self.citations, count)
        pieces = {citation.pmid: citation.pieces for citation in given}
        with tempfile.TemporaryDirectory(dir=self.scratch) as folder:
            files = _write_files(Path(folder), given)
            beam = [*plan.beam, *(flink_options if plan.flink else ())]
            threads = [] if plan.threads is None else [f"--threads={plan.threads}"]
            run_pubner(
                "annotate",
                *map(str, files),
                f"--output={folder}/out",
                f"--checkpoint={self.checkpoint}",
                f"--block-size={self.block}",
                *threads,
                *plan.runner,
                *(["--", *beam] if beam else []),
            )
            table = ds.dataset(f"{folder}/out/citations").to_table(["pmid", "annotated_at"])
            size = parquet_size(Path(folder) / "out", count)
        times = [value.timestamp() for value in table["annotated_at"].to_pylist()]
        if len(times) != count:
            raise RuntimeError(f"{count} citations were given, {len(times)} annotated")
        sample = steady_rate(
            times,
            [pieces[pmid] for pmid in table["pmid"].to_pylist()],
            parallelism=plan.parallelism,
            block=self.block,
        )
        return sample, size


def parquet_size(output: Path, citations: int) -> dict[str, float]:
    """Return an output's bytes per citation, by kind and total, and its mentions per citation."""
    files = {
        kind: list((output / kind).rglob("*.parquet"))
        for kind in ("citations", "mentions", "dead_letters")
    }
    size = {
        kind: sum(file.stat().st_size for file in found) / citations
        for kind, found in files.items()
    }
    rows = sum(pq.read_metadata(file).num_rows for file in files["mentions"])
    return {**size, "all": sum(size.values()), "mentions_per_citation": rows / citations}


def measure_startup(checkpoint: str, citation: BenchCitation) -> dict[str, float]:
    """Return the seconds of `pubner --help`, and of `pubner annotate` to its first batch."""
    helps = []
    for _ in range(3):
        begun = time.perf_counter()
        run_pubner("--help")
        helps.append(time.perf_counter() - begun)
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "one.xml"
        write_xml(source, [citation])
        started = datetime.now(UTC)
        run_pubner("annotate", str(source), f"--output={folder}/out", f"--checkpoint={checkpoint}")
        table = ds.dataset(f"{folder}/out/citations").to_table(["annotated_at"])
        first = table["annotated_at"].to_pylist()[0]
    return {"help_s": min(helps), "first_batch_s": (first - started).total_seconds()}


def run_pubner(*words: str) -> None:
    """Run `pubner` in a separate process; raise with its error output."""
    done = subprocess.run(
        [*_PUBNER, *words],
        cwd=ROOT,
        env=_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"pubner {words[0]} ended with {done.returncode}: {done.stderr[-2000:]}")


def notes(plan: PipelinePlan, count: int, block: int) -> dict[str, Any]:
    """Return notes on how a row was run."""
    return {
        "what": f"pubner annotate, {plan.runner[0].removeprefix('--runner=')}, XML to Parquet",
        "citations": count,
        "block_size": block,
        "parallelism": plan.parallelism,
        "threads": plan.threads,
    }


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def _write_files(folder: Path, citations: Sequence[BenchCitation]) -> list[Path]:
    size = -(-len(citations) // FILES)
    files = []
    for number in range(FILES):
        path = folder / f"citations-{number}.xml"
        write_xml(path, citations[number * size : (number + 1) * size])
        files.append(path)
    return files
