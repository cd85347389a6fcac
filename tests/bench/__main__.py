"""`make bench`: parsing, the tagger, the pipeline, the stream, and the score that users get."""

import argparse
import contextlib
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.bench.flink import measure_backlog, measure_side_by_side
from tests.bench.parsing import measure_parsing
from tests.bench.scores import measure_scores
from tests.bench.stream import fill_topic, measure_graph, measure_source, measure_unbounded
from tests.bench.throughput import load_texts, measure_pipeline, measure_tagger
from tests.support.checkpoints import tiny_checkpoint
from tests.support.services import Flink, Kafka, local


def main() -> int:
    """Run the benchmarks, print a table, and write `out/bench.json`."""
    parser = argparse.ArgumentParser(prog="make bench", description=main.__doc__)
    parser.add_argument("--citations", type=int, default=100, help="for tagger and pipeline")
    parser.add_argument("--parse", type=int, default=30_000, help="generated citations to parse")
    parser.add_argument("--messages", type=int, default=100_000, help="for the stream")
    parser.add_argument(
        "--backlog", type=int, default=0, help="messages of a backlog on Flink, for its memory"
    )
    parser.add_argument("--json", type=Path, default=Path("out/bench.json"))
    options = parser.parse_args()
    data = os.environ.get("PUBNER_DATA")
    results: dict[str, object] = {"machine": machine()}
    report("machine", results["machine"])

    def measure(name: str, run: Callable[[], object]) -> None:
        begun = time.monotonic()
        results[name] = run()
        report(f"{name} ({time.monotonic() - begun:.0f} s)", results[name])

    measure("parsing", lambda: measure_parsing(options.parse))
    texts = []
    if data:
        texts = load_texts(Path(data), options.citations)
        measure("scores", lambda: measure_scores(Path(data)))
        measure("pipeline", lambda: measure_pipeline(texts))
        measure("tagger", lambda: measure_tagger(texts))
    else:
        print("PUBNER_DATA is not set: throughput on real abstracts and scores are left out")
    with services() as (kafka, flink):
        fill_topic(kafka.bootstrap, "bench", options.messages)
        measure("source", lambda: measure_source(kafka.bootstrap, "bench", options.messages))
        measure("stream without a model", lambda: measure_graph(kafka.bootstrap, "bench"))
        prism = local("prism").splitlines()[-1]
        measure(
            "stream without a model or end, Prism",
            lambda: measure_unbounded(kafka.bootstrap, "bench", prism),
        )
        on_flink = ("--runner=FlinkRunner", "--", *flink.options)
        if data:
            measure(
                "stream beside batch",
                lambda: measure_side_by_side(kafka.bootstrap, on_flink, texts),
            )
        if options.backlog:
            tiny = tiny_checkpoint(flink.folder / "tiny")
            measure(
                "backlog on Flink",
                lambda: measure_backlog(kafka.bootstrap, on_flink, tiny, messages=options.backlog),
            )
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(results, indent=2) + "\n")
    print(f"\nwritten to {options.json}")
    return 0


@contextlib.contextmanager
def services() -> Iterator[tuple[Kafka, Flink]]:
    """Start a real Kafka and a real Flink for the time of the benchmark."""
    with tempfile.TemporaryDirectory() as folder:
        kafka, flink = Kafka(Path(folder) / "kafka"), Flink(Path(folder) / "flink")
        try:
            kafka.up()
            flink.up()
            yield kafka, flink
        finally:
            flink.down()
            kafka.down()


def machine() -> dict[str, object]:
    """Describe the processor that the figures were measured on."""
    import torch

    model = platform.processor() or platform.machine()
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    capabilities = torch.cpu.get_capabilities()
    return {
        "processor": model,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "avx512_bf16": bool(capabilities.get("avx512_bf16")),
        "amx_bf16": bool(capabilities.get("amx_bf16")),
    }


def report(name: str, value: object) -> None:
    """Print one result, a line a figure."""
    print(f"\n{name}")
    if isinstance(value, dict):
        for key, figure in value.items():
            shown = f"{figure:,.4g}" if isinstance(figure, float) else figure
            print(f"  {key:<48} {shown}")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
