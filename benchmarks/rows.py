"""The benchmark's rows except the pipelines, and the process of each.

Each library has a separate process, so that its threads, memory and settings do not affect others.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RowPlan:
    """How a row is measured: its process, and the number of citations per call.

    With `truncates` a citation's word pieces beyond the encoder's length are never read.
    """

    group: str
    chunk: int
    quick_chunk: int
    what: str
    truncates: bool = False


LIMIT = "limit"
PLANS: Mapping[str, RowPlan] = {
    "hf-default": RowPlan(
        "transformers", 8, 4, "transformers pipeline, defaults, one pass a head", truncates=True
    ),
    "hf-best": RowPlan(
        "transformers",
        64,
        8,
        "transformers pipeline, sorted, batched, bf16 where native, one pass a head",
        truncates=True,
    ),
    "torch-fp32": RowPlan("torch", 250, 32, "PyTorch fp32, all heads, sorted by length, padded"),
    "torch-bf16": RowPlan("torch", 250, 32, "PyTorch bf16, all heads, sorted by length, padded"),
    "onnx-fp32": RowPlan("onnx", 250, 32, "ONNX Runtime fp32, all heads, sorted by length"),
    "onnx-int8": RowPlan("onnx", 250, 32, "ONNX Runtime dynamic int8, all heads, sorted by length"),
    "openvino": RowPlan(
        "openvino", 250, 32, "OpenVINO, bf16 where native, all heads, a stream a core"
    ),
    "tagger": RowPlan("tagger", 250, 250, "pubner's tagger alone"),
}
