"""`make bench`: measures the machine's peak rates, peers and pubner, side by side."""

import argparse
import contextlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks import growth, pipelines
from benchmarks.citations import BenchCitation, cut_citations, mixed, read_citations, with_pieces
from benchmarks.cluster import flink_cluster
from benchmarks.machine import describe_machine
from benchmarks.measuring import Collected, Ground, Measure, log, measure_pipelines, measure_rows
from benchmarks.process import ROOT, RowProcess
from benchmarks.profile import measure_profile
from benchmarks.results import EXTRA_ROWS, LEAST_SECONDS, ROWS, results_json
from benchmarks.table import print_figures, print_results
from benchmarks.weights import checkpoint_shape
from worker.checkpoint.folder import TOKENISER, resolve_checkpoint
from worker.text.tokenisation import load_tokeniser


def main() -> int:
    """Measure, print a table, and write the results as JSON."""
    options = _options()
    data = os.environ.get("PUBNER_DATA")
    if not data:
        print("bench: PUBNER_DATA names no folder of real abstracts", file=sys.stderr)
        return 2
    begun = time.monotonic()
    device = options.device if options.device != "auto" else _best_device()
    folder = resolve_checkpoint(options.checkpoint)
    shape = checkpoint_shape(folder)
    machine = describe_machine(date=datetime.now(UTC).date().isoformat())
    measure = _measure(options)
    citations = _citations(Path(data), folder, options)
    collected = Collected()
    more: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as scratch:
        ground = Ground(
            citations=citations,
            checkpoint=folder.absolute(),
            device=device,
            threads=options.threads or len(os.sched_getaffinity(0)),
            scratch=Path(scratch),
            cache=ROOT / ".cache" / "bench" / folder_key(folder, machine["versions"]),
        )
        plans = [plan for name, plan in pipelines.PLANS.items() if name in measure.rows]
        on_flink = any(plan.flink for plan in plans)
        if "pipeline-prism" in measure.rows:
            _build_prism()
        measure_rows(ground, measure, collected)  # while nothing else runs
        with flink_cluster(ground.scratch / "flink", wanted=on_flink) as flink:
            if plans:
                measure_pipelines(ground, measure, collected, flink)
        if plans and not options.quick:
            more["startup"] = pipelines.measure_startup(str(ground.checkpoint), citations[0])
            more["profile"] = measure_profile(
                citations, scratch=ground.scratch, checkpoint=ground.checkpoint
            )
        more |= {"agreement": collected.agreement, "left_out": collected.left_out}
        if options.growth:
            rate = max(x.wordpieces_per_s for x in collected.samples["tagger"])
            everything = replace(ground, citations=read_citations(Path(data)))
            mean = sum(item.pieces for item in citations) / len(citations)
            pieces = 0.8 * rate * 60 * options.growth_minutes / options.growth
            more["growth"] = _growth(everything, options, min(1.0, pieces / mean))
        more |= _others(options, Path(data), citations)
    results = results_json(
        machine=machine,
        settings={
            "quick": options.quick,
            "citations": len(citations),
            "mean_wordpieces": sum(item.pieces for item in citations) / len(citations),
            "checkpoint": options.checkpoint,
            "heads": [task.name for task in shape.tasks],
            "device": device,
            "threads": ground.threads,
            "repetitions": measure.repetitions,
            "seconds": measure.seconds,
            "bench_seconds": round(time.monotonic() - begun),
        },
        limit=collected.limit,
        rows=collected.rows(),
        parameters=shape.parameters,
        more=more,
    )
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(results, indent=2) + "\n", "utf-8")
    print_results(results)
    print(f"\nwritten to {options.json} after {time.monotonic() - begun:.0f} s")
    return 0


def _build_prism() -> None:
    """Build Prism if needed; if that fails its row is left out, with the reason."""
    from tests.support.services import run_local

    done = run_local("prism")
    if done.returncode:
        log(done.stderr.strip())


def folder_key(folder: Path, versions: dict[str, str]) -> str:
    """Return the folder name of a checkpoint's exported formats."""
    from worker.checkpoint.folder import read_manifest

    which = [read_manifest(folder).id]
    which += [versions.get(name, "none") for name in ("torch", "onnxruntime", "openvino")]
    return "-".join(which)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="make bench", description=main.__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a short run, under three minutes")
    parser.add_argument("--citations", type=int, help="number of abstracts (1000; quick: 60)")
    parser.add_argument(
        "--rows", help="comma-separated rows (all; quick: those without *):\n" + _row_list()
    )
    parser.add_argument("--repetitions", type=int, help="rounds (3; quick: 1)")
    parser.add_argument("--seconds", type=float, help="seconds per row and round (10; quick: 2)")
    parser.add_argument("--checkpoint", default="default", help="checkpoint folder, or default")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--threads", type=int, help="CPU threads (all)")
    parser.add_argument(
        "--growth",
        type=int,
        default=0,
        help="measure growth up to this many citations, e.g. 100000",
    )
    parser.add_argument(
        "--growth-minutes",
        type=float,
        default=15,
        help="approximate duration; texts are cut to fit",
    )
    parser.add_argument(
        "--growth-of", default="pipeline", help="what to grow: pipeline, tagger, or pipeline,tagger"
    )
    parser.add_argument("--scores", action="store_true", help="F1 on devel: as shipped and fp32")
    parser.add_argument(
        "--parsing", type=int, default=0, help="number of generated citations to parse"
    )
    parser.add_argument(
        "--messages", type=int, default=0, help="number of messages for the stream benchmark"
    )
    parser.add_argument(
        "--backlog", type=int, default=0, help="number of messages of a backlog on Flink"
    )
    parser.add_argument(
        "--rerun", type=int, default=0, help="number of finished blocks for a rerun, e.g. 38000"
    )
    parser.add_argument("--json", type=Path, default=Path("out/bench.json"))
    options = parser.parse_args()
    if options.rows is None:
        options.rows = ",".join(x for x in ROWS if not (options.quick and x in EXTRA_ROWS))
    unknown = set(options.rows.split(",")) - set(ROWS)
    if unknown:
        parser.error(f"no row {', '.join(sorted(unknown))}; known are {', '.join(ROWS)}")
    return options


def _row_list() -> str:
    return "\n".join(f"  {name}{' *' if name in EXTRA_ROWS else ''}" for name in ROWS)


def _measure(options: argparse.Namespace) -> Measure:
    quick = options.quick
    seconds = options.seconds or (2.0 if quick else LEAST_SECONDS)
    rows = options.rows.split(",")
    if options.growth or any(name in rows for name in pipelines.PLANS):
        rows = [*dict.fromkeys([*rows, "tagger"])]  # its rate determines the input size
    return Measure(
        rows=rows,
        repetitions=options.repetitions or (1 if quick else 3),
        seconds=seconds,
        block=25 if quick else pipelines.BLOCK,
        quick=quick,
    )


def _citations(data: Path, checkpoint: Path, options: argparse.Namespace) -> list[BenchCitation]:
    """Return the citations with word-piece counts, in the order of `mixed`."""
    read = read_citations(data, options.citations or (60 if options.quick else 1000))
    pieces = load_tokeniser(checkpoint / TOKENISER).encode([item.text for item in read])
    return mixed(with_pieces(read, [len(item) for item in pieces]))


def _best_device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _growth(ground: Ground, options: argparse.Namespace, share: float) -> dict[str, Any]:
    """Measure growth to `options.growth` citations, cut to about `share` of their sentences."""
    found: dict[str, Any] = {"citations": options.growth, "share_of_sentences": share}
    wanted = options.growth_of.split(",")
    if "tagger" in wanted:
        log(f"growth of the tagger to {options.growth:,} citations")
        process = RowProcess("tagger", ground.load(), log=ground.scratch / "growth.log")
        try:
            process.ready()
            marks = process.growth(count=options.growth, share=share)
        finally:
            process.end()
        found["tagger"] = growth.growth_entry(marks)
    if "pipeline" in wanted:
        log(f"growth of the pipeline to {options.growth:,} citations")
        cut = list(cut_citations(ground.citations, options.growth, share=share))
        marks, size = growth.grow_pipeline(
            cut, checkpoint=ground.checkpoint, scratch=ground.scratch
        )
        found["pipeline"] = growth.growth_entry(marks)
        found["parquet_bytes_per_citation"] = size
        found["mean_characters"] = sum(len(item.text) for item in cut) / len(cut)
    return found


def _others(
    options: argparse.Namespace, data: Path, citations: list[BenchCitation]
) -> dict[str, Any]:
    """Run the optional measurements: scores, parsing, a rerun, the stream."""
    found: dict[str, Any] = {}

    def add(name: str, run: Callable[[], object]) -> None:
        found[name] = run()
        print_figures(name, found[name])

    if options.scores:
        from benchmarks.scores import measure_scores

        add("scores", lambda: measure_scores(data))
        add("scores, fp32", lambda: measure_scores(data, precision="fp32"))
    if options.parsing:
        from benchmarks.parsing import measure_parsing

        add("parsing", lambda: measure_parsing(options.parsing))
    if options.rerun:
        from benchmarks.rerun import measure_rerun

        add("rerun", lambda: measure_rerun(options.rerun))
    if options.messages or options.backlog:
        _stream(options, citations, add)
    return found


def _stream(
    options: argparse.Namespace,
    citations: list[BenchCitation],
    add: Callable[[str, Callable[[], object]], None],
) -> None:
    """Measure the source and the stream, with a real Kafka and a real Flink."""
    from benchmarks.flink import measure_backlog, measure_side_by_side
    from benchmarks.stream import fill_topic, measure_graph, measure_source, measure_unbounded
    from tests.support.checkpoints import tiny_checkpoint
    from tests.support.services import local

    texts = [
        {"pmid": item.pmid, "title": item.title, "abstract": item.abstract} for item in citations
    ]
    with _services() as (kafka, flink):
        on_flink = ("--runner=FlinkRunner", "--", *flink.options)
        if options.messages:
            fill_topic(kafka.bootstrap, "bench", options.messages)
            prism = local("prism").splitlines()[-1]
            add("source", lambda: measure_source(kafka.bootstrap, "bench", options.messages))
            add("stream without a model", lambda: measure_graph(kafka.bootstrap, "bench"))
            add(
                "stream without a model or end, Prism",
                lambda: measure_unbounded(kafka.bootstrap, "bench", prism),
            )
            add(
                "stream beside batch",
                lambda: measure_side_by_side(kafka.bootstrap, on_flink, texts),
            )
        if options.backlog:
            tiny = tiny_checkpoint(flink.folder / "tiny")
            add(
                "backlog on Flink",
                lambda: measure_backlog(kafka.bootstrap, on_flink, tiny, messages=options.backlog),
            )


@contextlib.contextmanager
def _services() -> Iterator[tuple[Any, Any]]:
    """Run a real Kafka and a real Flink during the benchmark."""
    from tests.support.services import Flink, Kafka

    with tempfile.TemporaryDirectory() as folder:
        kafka, flink = Kafka(Path(folder) / "kafka"), Flink(Path(folder) / "flink")
        try:
            kafka.up()
            flink.up()
            yield kafka, flink
        finally:
            flink.down()
            kafka.down()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except RuntimeError as error:
        sys.exit(f"bench: {error}")
