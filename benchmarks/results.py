"""The computation of the results, and their JSON form."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

LEAST_SECONDS = 10.0
"""The minimum seconds of a rate measurement, without start-up; less with --quick."""

PEERS = ("hf-default", "hf-best", "torch-fp32", "torch-bf16", "onnx-fp32", "onnx-int8", "openvino")
PUBNER = (
    "tagger",
    "pipeline-direct",
    "pipeline-direct-1",
    "pipeline-prism",
    "pipeline-flink-1",
    "pipeline-flink-2",
)
ROWS = (*PEERS, *PUBNER)
EXTRA_ROWS = ("torch-fp32", "torch-bf16", "pipeline-direct-1")
"""Rows that --quick omits: plain code, and rows implied by others."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One measurement: citations, their word pieces, and the elapsed seconds."""

    citations: int
    pieces: int
    seconds: float

    @property
    def citations_per_s(self) -> float:
        """The citations per second."""
        return self.citations / self.seconds

    @property
    def wordpieces_per_s(self) -> float:
        """The word pieces per second, without padding and special pieces."""
        return self.pieces / self.seconds


@dataclass(frozen=True, slots=True)
class Row:
    """The measurements of one way to annotate: its samples, and notes for the reader."""

    name: str
    samples: Sequence[Sample]
    notes: Mapping[str, Any] = field(default_factory=dict)


def share_of_limit(wordpieces_per_s: float, *, parameters: int, flops: float) -> float:
    """Return the fraction of the peak matrix rate that does useful work, from 0 to 1.

    A word piece needs two operations (a product and a sum) for each of the encoder's matrix
    `parameters`; `flops` is the best matrix-product rate over the encoder's shapes.
    """
    return 2 * parameters * wordpieces_per_s / flops


def merge_limits(rounds: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the best rates of several rounds: a limit is the machine's maximum."""
    merged: dict[str, Any] = {}
    for key in rounds[0]:
        if key != "shapes":
            merged[key] = max(float(found[key]) for found in rounds)
    merged["rounds"] = [{k: v for k, v in found.items() if k != "shapes"} for found in rounds]
    merged["shapes"] = {
        kind: {name: max(found["shapes"][kind][name] for found in rounds) for name in shapes}
        for kind, shapes in rounds[0]["shapes"].items()
    }
    return merged


def best_flops(limit: Mapping[str, float]) -> float:
    """Return the best floating-point matrix rate of the machine: bf16 or fp32."""
    return max(limit["bf16_flops"], limit["fp32_flops"])


def rate_entry(row: Row, *, parameters: int, flops: float) -> dict[str, Any]:
    """Return a row's entry under `rates`: median, minimum, maximum, and how it was measured."""
    rates = [sample.citations_per_s for sample in row.samples]
    pieces = statistics.median(sample.wordpieces_per_s for sample in row.samples)
    middle = statistics.median(rates)
    return {
        "citations_per_s": middle,
        "wordpieces_per_s": pieces,
        "share_of_limit": share_of_limit(pieces, parameters=parameters, flops=flops),
        "citations_per_s_min": min(rates),
        "citations_per_s_max": max(rates),
        "spread": (max(rates) - min(rates)) / middle,
        "repetitions": len(rates),
        "least_seconds": min(sample.seconds for sample in row.samples),
        "samples": [asdict(sample) for sample in row.samples],
        **row.notes,
    }


def best_peer(rates: Mapping[str, Mapping[str, Any]]) -> str | None:
    """Return the name of the fastest peer."""
    known = [name for name in PEERS if name in rates]
    return max(known, key=lambda name: float(rates[name]["citations_per_s"]), default=None)


def ratios(rates: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """Return the speed ratios between rows, as far as they were measured."""

    def over(one: str | None, other: str | None) -> float | None:
        if one is None or other is None or not {one, other} <= rates.keys():
            return None
        return float(rates[one]["citations_per_s"]) / float(rates[other]["citations_per_s"])

    wanted = {
        "tagger over the best peer": over("tagger", best_peer(rates)),
        "tagger over hf-default": over("tagger", "hf-default"),
        "pipeline-direct over tagger": over("pipeline-direct", "tagger"),
        "pipeline-prism over tagger": over("pipeline-prism", "tagger"),
        "pipeline-flink-2 over tagger": over("pipeline-flink-2", "tagger"),
        "pipeline-flink-2 over pipeline-flink-1": over("pipeline-flink-2", "pipeline-flink-1"),
    }
    return {name: value for name, value in wanted.items() if value is not None}


def results_json(
    *,
    machine: Mapping[str, Any],
    settings: Mapping[str, Any],
    limit: Mapping[str, Any],
    rows: Sequence[Row],
    parameters: int,
    more: Mapping[str, Any],
) -> dict[str, Any]:
    """Return all measurements in the form of `out/bench.json`."""
    flops = best_flops(limit)
    known = {row.name: row for row in rows if row.samples}
    rates = {
        name: rate_entry(known[name], parameters=parameters, flops=flops)
        for name in ROWS
        if name in known
    }
    return {
        "machine": dict(machine),
        "settings": {**settings, "encoder_matrix_parameters": parameters},
        "limit": dict(limit),
        "rates": rates,
        "best_peer": best_peer(rates),
        "ratios": ratios(rates),
        **more,
    }
