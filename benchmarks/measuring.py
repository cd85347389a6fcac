"""The measurement of the rows side by side, in rounds, each row in turn."""

import contextlib
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import pipelines
from benchmarks.citations import BenchCitation, save_citations
from benchmarks.cluster import Starting
from benchmarks.mentions import difference
from benchmarks.process import RowProcess, run_module
from benchmarks.results import Row, Sample, merge_limits
from benchmarks.rows import LIMIT, PLANS

_EXPORTED = ("onnx", "openvino")
_NEEDED = (LIMIT, "tagger")
_REFERENCE = "torch-fp32"
_COMPARED = ("tagger", "torch-bf16", "onnx-int8", "openvino")


@dataclass(frozen=True, slots=True)
class Measure:
    """The extent of the measurement: rows, rounds, seconds per row, and whether it is --quick."""

    rows: Sequence[str]
    repetitions: int
    seconds: float
    block: int
    quick: bool


@dataclass(slots=True)
class Collected:
    """The measurements so far, and the omitted rows with the reason."""

    samples: dict[str, list[Sample]] = field(default_factory=dict)
    notes: dict[str, dict[str, Any]] = field(default_factory=dict)
    limits: list[dict[str, Any]] = field(default_factory=list)
    agreement: dict[str, Any] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)

    def add(self, name: str, sample: Sample, **notes: Any) -> None:
        """Add a sample and print it."""
        self.samples.setdefault(name, []).append(sample)
        self.notes.setdefault(name, {}).update(notes)
        log(f"  {name:<18} {sample.citations_per_s:8.1f} citations/s in {sample.seconds:.1f} s")

    def rows(self) -> list[Row]:
        """Return all rows."""
        return [Row(name, samples, self.notes[name]) for name, samples in self.samples.items()]

    @property
    def limit(self) -> dict[str, Any]:
        """The peak rates over all rounds."""
        return merge_limits(self.limits)


@dataclass(frozen=True, slots=True)
class Ground:
    """The inputs of the measurement: citations, checkpoint, device, threads, and folders."""

    citations: Sequence[BenchCitation]
    checkpoint: Path
    device: str
    threads: int
    scratch: Path
    cache: Path

    def load(self) -> dict[str, object]:
        """Return the first request to a row's process, and write the citations that it refers
        to."""
        save_citations(self.scratch / "citations.json", self.citations)
        return {
            "checkpoint": str(self.checkpoint),
            "device": self.device,
            "threads": self.threads,
            "citations": str(self.scratch / "citations.json"),
            "models": str(self.cache),
        }


def measure_rows(ground: Ground, measure: Measure, collected: Collected) -> None:
    """Measure the peak rates and every row except the pipelines."""
    names = [name for name in PLANS if name in measure.rows]
    with _processes(ground, names, collected) as processes:
        for number in range(measure.repetitions):
            log(f"round {number + 1} of {measure.repetitions}")
            collected.limits.append(processes[LIMIT].limit(seconds=measure.seconds))
            for name in names:
                plan = PLANS[name]
                if plan.group in processes:
                    chunk = plan.quick_chunk if measure.quick else plan.chunk
                    chunk = min(chunk, len(ground.citations))
                    sample, memory = processes[plan.group].rate(
                        name, seconds=measure.seconds, chunk=chunk
                    )
                    collected.add(name, sample, what=plan.what, chunk=chunk, memory_mb=memory)
        if _REFERENCE in names:
            _compare(ground, measure, processes, collected)


def measure_pipelines(
    ground: Ground, measure: Measure, collected: Collected, flink: Starting | None
) -> None:
    """Measure the whole pipeline on each runner; the tagger's rate determines its input size."""
    wanted = {name: plan for name, plan in pipelines.PLANS.items() if name in measure.rows}
    tagger = max(sample.citations_per_s for sample in collected.samples["tagger"])
    bench = pipelines.PipelineBench(
        ground.citations, str(ground.checkpoint), ground.scratch, measure.block
    )
    options: Sequence[str] = ()
    if flink is not None:
        try:
            options = flink.options()
        except RuntimeError as error:
            on_flink = [name for name, plan in wanted.items() if plan.flink]
            leave_out(collected, on_flink, str(error))
    for number in range(measure.repetitions):
        log(f"pipelines, round {number + 1} of {measure.repetitions}")
        for name, plan in wanted.items():
            if name in collected.left_out:
                continue
            count = pipelines.citations_needed(
                tagger * plan.cores(ground.threads) / ground.threads,
                seconds=measure.seconds,
                parallelism=plan.parallelism,
                block=measure.block,
            )
            try:
                sample, size = bench.run(plan, count=count, flink_options=options)
            except RuntimeError as error:
                leave_out(collected, [name], str(error))
                continue
            notes = pipelines.notes(plan, count, measure.block)
            collected.add(name, sample, **notes, parquet_bytes_per_citation=size)


def leave_out(collected: Collected, names: Sequence[str], reason: str) -> None:
    """Record and print the rows that are left out, and why."""
    for name in names:
        collected.left_out[name] = reason
        log(f"  {name} is left out: {reason}")


def log(line: str) -> None:
    """Print a progress line to standard error."""
    print(line, file=sys.stderr, flush=True)


def _compare(
    ground: Ground,
    measure: Measure,
    processes: Mapping[str, RowProcess],
    collected: Collected,
) -> None:
    """Compare mentions with those of the fp32 PyTorch reference."""
    count = min(len(ground.citations), 50 if measure.quick else len(ground.citations))
    if PLANS[_REFERENCE].group not in processes:
        return
    log(f"mentions of {count} citations, beside {_REFERENCE}")
    reference = processes[PLANS[_REFERENCE].group].mentions(_REFERENCE, count=count)
    collected.agreement = {"citations": count, "reference": _REFERENCE}
    for name in _COMPARED:
        if name in measure.rows and PLANS[name].group in processes:
            found = processes[PLANS[name].group].mentions(name, count=count)
            collected.agreement[name] = difference(found, reference)


@contextlib.contextmanager
def _processes(
    ground: Ground, names: Sequence[str], collected: Collected
) -> Iterator[dict[str, RowProcess]]:
    """Start one process per library; libraries that cannot be loaded are left out."""
    load = ground.load()
    groups = dict.fromkeys([LIMIT, *(PLANS[name].group for name in names)])
    if any(group in groups for group in _EXPORTED):
        log("writing the checkpoint for ONNX Runtime and OpenVINO, unless it is there")
        said = run_module("benchmarks.peers.export", str(ground.checkpoint), str(ground.cache))
        if said is not None:
            groups = {group: None for group in groups if group not in _EXPORTED}
            left = [name for name in names if PLANS[name].group in _EXPORTED]
            leave_out(collected, left, said)
    log(f"loading: {', '.join(groups)}")
    with tempfile.TemporaryDirectory() as logs, contextlib.ExitStack() as stack:
        processes = {}
        for group in groups:
            process = RowProcess(group, load, log=Path(logs) / group)
            stack.callback(process.end)
            processes[group] = process
        for group, process in list(processes.items()):
            try:
                process.ready()
            except RuntimeError as error:
                if group in _NEEDED:
                    raise
                left = [name for name in names if PLANS[name].group == group]
                leave_out(collected, left, str(error))
                del processes[group]
        yield processes
