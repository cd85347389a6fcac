"""ONNX Runtime, all heads in one pass: fp32, and int8 by dynamic quantisation."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import onnxruntime

from benchmarks.allheads import AllHeads, Batch, Floats, Run
from benchmarks.peers.export import FP32, INT8
from benchmarks.weights import CheckpointShape

BATCH_PIECES = 4096


def load(
    shape: CheckpointShape, *, device: str, threads: int, models: Path
) -> Mapping[str, Callable[[Sequence[str]], object]]:
    """Return the rows `onnx-fp32` and `onnx-int8`."""
    return {
        name: AllHeads(shape, _runner(models / file, threads), batch_pieces=BATCH_PIECES)
        for name, file in (("onnx-fp32", FP32), ("onnx-int8", INT8))
    }


def _runner(path: Path, threads: int) -> Run:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def run(batches: Iterable[Batch]) -> Iterator[tuple[Batch, Floats]]:
        for batch in batches:
            fed = {"ids": batch.ids, "mask": batch.mask, "case": batch.case}
            yield batch, session.run(None, fed)[0]

    return run
