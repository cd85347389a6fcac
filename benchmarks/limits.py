"""Peak rates of the machine (roofline): matrix products, tokenisation and memory bandwidth.

The matrix shapes are those of an encoder layer over the word pieces of one batch.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any

import torch

from benchmarks.weights import CheckpointShape
from worker.checkpoint.folder import TOKENISER
from worker.text.tokenisation import load_tokeniser

_ROWS = (1024, 4096)
_COPY_BYTES = 2**28
_GRAIN = 3


def measure_limit(
    shape: CheckpointShape, *, device: str, threads: int, seconds: float, texts: Sequence[str]
) -> dict[str, Any]:
    """Measure the peak rates for about `seconds`, in operations, word pieces and bytes per second.

    `bf16_flops`, `fp32_flops` and `int8_ops` are each the best over the shapes and over PyTorch's
    kernels (plain, or with prepacked weights).
    """
    torch.set_num_threads(threads)
    found: dict[str, Any] = {"shapes": {}}
    trials = _trials(shape, device)
    each = 0.8 * seconds / max(1, len(trials))
    for (kind, name), (work, run) in trials.items():
        rate = _rate(run, work, each, device)
        shapes = found["shapes"].setdefault(kind, {})
        shapes[name] = max(rate, shapes.get(name, 0.0))
    for kind, shapes in found["shapes"].items():
        found[kind] = max(shapes.values())
    return found | _tokenizer(shape, texts) | {"memory_bytes_per_s": _memory(device)}


Trial = tuple[float, Callable[[], object]]


def _trials(shape: CheckpointShape, device: str) -> dict[tuple[str, str], Trial]:
    """Return the products to time: the operations of one, and a function that computes it."""
    hidden, wide = shape.hidden, shape.intermediate
    products = {(hidden, 3 * hidden), (hidden, hidden), (hidden, wide), (wide, hidden)}
    trials: dict[tuple[str, str], Trial] = {}
    for rows in _ROWS:
        for inner, outer in sorted(products):
            name, work = f"{rows}x{inner}x{outer}", 2.0 * rows * inner * outer
            for kind, dtype in (("bf16_flops", torch.bfloat16), ("fp32_flops", torch.float32)):
                given = torch.randn(rows, inner).to(device=device, dtype=dtype)
                weight = torch.randn(outer, inner).to(device=device, dtype=dtype)
                trials[kind, name] = work, _plain(given, weight)
                if device == "cpu":
                    trials[kind, f"{name}, packed"] = work, _packed(given, weight)
            given = torch.randint(-100, 100, (rows, inner), dtype=torch.int8, device=device)
            weight = torch.randint(-100, 100, (outer, inner), dtype=torch.int8, device=device)
            trials["int8_ops", name] = work, _integers(given, weight)
    return trials


def _plain(given: torch.Tensor, weight: torch.Tensor) -> Callable[[], object]:
    return lambda: torch.nn.functional.linear(given, weight)


def _packed(given: torch.Tensor, weight: torch.Tensor) -> Callable[[], object]:
    laid_out = torch.ops.mkldnn._reorder_linear_weight(weight, len(given))
    return lambda: torch.ops.mkldnn._linear_pointwise(given, laid_out, None, "none", [], "")


def _integers(given: torch.Tensor, weight: torch.Tensor) -> Callable[[], object]:
    across = weight.t()
    return lambda: torch._int_mm(given, across)


def _rate(run: Callable[[], object], work: float, seconds: float, device: str) -> float:
    """Return the best rate within `seconds`, over groups of a few calls."""
    with torch.inference_mode():
        run()
        best, until = 0.0, time.perf_counter() + seconds
        while True:
            _wait(device)
            begun = time.perf_counter()
            for _ in range(_GRAIN):
                run()
            _wait(device)
            now = time.perf_counter()
            best = max(best, _GRAIN * work / (now - begun))
            if now >= until:
                return best


def _wait(device: str) -> None:
    if device != "cpu":
        torch.cuda.synchronize()


def _tokenizer(shape: CheckpointShape, texts: Sequence[str]) -> dict[str, float]:
    """Return the rates of pubner's tokeniser on `texts`, with offsets and letter case."""
    tokeniser = load_tokeniser(shape.folder / TOKENISER)
    tokeniser.encode(texts[:20])
    begun = time.perf_counter()
    pieces = sum(map(len, tokeniser.encode(texts)))
    seconds = time.perf_counter() - begun
    return {
        "tokenizer_wordpieces_per_s": pieces / seconds,
        "tokenizer_citations_per_s": len(texts) / seconds,
    }


def _memory(device: str) -> float:
    """Return the bandwidth of a large copy, reads and writes, in bytes per second."""
    source = torch.ones(_COPY_BYTES // 4, device=device)
    target = torch.empty_like(source)
    return _rate(lambda: target.copy_(source), 2.0 * _COPY_BYTES, 0.5, device)
