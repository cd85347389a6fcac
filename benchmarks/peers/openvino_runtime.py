"""OpenVINO, all heads in one pass, tuned for throughput: one stream per core, bf16 where native."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import openvino

from benchmarks.allheads import AllHeads, Batch, Floats, Run
from benchmarks.peers.export import OPENVINO
from benchmarks.weights import CheckpointShape

BATCH_PIECES = 4096


def load(
    shape: CheckpointShape, *, device: str, threads: int, models: Path
) -> Mapping[str, Callable[[Sequence[str]], object]]:
    """Return the row `openvino`."""
    core = openvino.Core()
    native = "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    compiled = core.compile_model(
        core.read_model(models / OPENVINO),
        "CPU",
        {
            "INFERENCE_PRECISION_HINT": "bf16" if native else "f32",
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": threads,
            "PERFORMANCE_HINT": "THROUGHPUT",
        },
    )
    return {"openvino": AllHeads(shape, _runner(compiled, threads), batch_pieces=BATCH_PIECES)}


def _runner(compiled: Any, streams: int) -> Run:
    requests = openvino.AsyncInferQueue(compiled, streams)
    done: SimpleQueue[tuple[Batch, Floats]] = SimpleQueue()

    def finished(request: Any, batch: Batch) -> None:
        done.put((batch, request.get_output_tensor(0).data.copy()))

    requests.set_callback(finished)

    def run(batches: Iterable[Batch]) -> Iterator[tuple[Batch, Floats]]:
        for batch in batches:
            fed = {"ids": batch.ids, "mask": batch.mask, "case": batch.case}
            requests.start_async(fed, userdata=batch)
            while not done.empty():
                yield done.get()
        requests.wait_all()
        while not done.empty():
            yield done.get()

    return run
