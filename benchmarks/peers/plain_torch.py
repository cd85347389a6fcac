"""Plain PyTorch: the transformers encoder with all heads; its fp32 mentions are the reference."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import torch

from benchmarks.allheads import AllHeads, Batch, Floats, Run
from benchmarks.weights import CheckpointShape, all_heads_model

BATCH_PIECES = 4096


def load(
    shape: CheckpointShape, *, device: str, threads: int, models: Path
) -> Mapping[str, Callable[[Sequence[str]], object]]:
    """Return the rows `torch-fp32` and `torch-bf16`."""
    torch.set_num_threads(threads)

    def row(dtype: torch.dtype) -> AllHeads:
        model = all_heads_model(shape).to(device=device, dtype=dtype)
        return AllHeads(shape, _runner(model, device), batch_pieces=BATCH_PIECES)

    return {"torch-fp32": row(torch.float32), "torch-bf16": row(torch.bfloat16)}


def _runner(model: torch.nn.Module, device: str) -> Run:
    def run(batches: Iterable[Batch]) -> Iterator[tuple[Batch, Floats]]:
        with torch.inference_mode():
            for batch in batches:
                arrays = (
                    torch.from_numpy(x).to(device) for x in (batch.ids, batch.mask, batch.case)
                )
                yield batch, model(*arrays).float().cpu().numpy()

    return run
