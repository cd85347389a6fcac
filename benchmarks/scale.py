"""Writes `docs/scale.md`: extrapolation of the measured rates to all of PubMed."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

CITATIONS: Final = 38_000_000
AROUND_MS: Final = 0.25
"""CPU milliseconds per citation of everything except the tagger, XML to Parquet."""
SCALE_ROWS: Final = frozenset({"pipeline-direct", "pipeline-flink-1", "pipeline-flink-2"})
"""The rows that the page uses."""
_HOUR: Final = 3600.0


@dataclass(frozen=True, slots=True)
class Accelerator:
    """A GPU type with its data-sheet bf16 rate (no sparsity, FLOP/s), and a count."""

    name: str
    flops: float
    count: int = 1


H200: Final = Accelerator("H200", 989e12)
EIGHT_H200: Final = Accelerator("eight H200", 989e12, 8)
L4: Final = Accelerator("twenty L4", 121e12, 20)
_SHARES: Final = (0.2, 0.35, 0.5)


@dataclass(frozen=True, slots=True)
class Encoder:
    """An encoder: the matrix parameters of its layers, and layers × width for attention."""

    name: str
    parameters: float
    layers_width: int

    def flops(self, pieces: float) -> float:
        """Return the operations of a citation of `pieces` word pieces in one window."""
        return 2 * self.parameters * pieces + 4 * self.layers_width * pieces**2


SHIPPED: Final = Encoder("shipped (6 layers, 384 wide)", 10_646_784, 6 * 384)
BASE: Final = Encoder("BERT-base (12 layers, 768 wide)", 84_934_656, 12 * 768)


def make_scale(results: Mapping[str, Any]) -> str:
    """Return the page as Markdown, from the results of `make bench`."""
    rates, machine = results["rates"], results["machine"]
    pieces = float(results["settings"]["mean_wordpieces"])
    size = rates["pipeline-direct"]["parquet_bytes_per_citation"]
    tokeniser = float(results["limit"]["tokenizer_wordpieces_per_s"])
    cores = machine["cores"]
    rate = float(rates["pipeline-flink-2"]["citations_per_s"])
    core_hours = CITATIONS * cores / rate / _HOUR
    around = CITATIONS * AROUND_MS / 1000 / _HOUR
    tokenising = CITATIONS * pieces * cores / tokeniser / _HOUR
    feeding = around + tokenising
    parts = [
        "# Scale: all of PubMed",
        "Made from [speed.md](speed.md)'s figures by `python -m benchmarks.page`; do not edit. "
        f"PubMed has about {CITATIONS / 1e6:.0f} million citations. A third of them have no "
        "abstract; here each counts as one that has, with the "
        f"{pieces:.0f} word pieces of the abstracts that were measured. So the times are upper "
        "bounds.",
        "## What is measured",
        _lines(
            f"Machine: {cores} cores of {machine['processor']}, {machine['date']}; no GPU.",
            f"The whole pipeline, XML to Parquet, on Flink with one thread a worker and two "
            f"workers: {rate:.1f} citations/s, {rate / cores:.1f} a core.",
            f"Parquet: {size['all']:,.0f} bytes a citation with its text and "
            f"{size['mentions_per_citation']:.0f} mentions.",
            f"The tokeniser: {tokeniser / 1000:,.0f} thousand word pieces/s on {cores} cores.",
            f"All but the tagger (reading XML, Beam, rows, Parquet): {AROUND_MS} ms of processor "
            "time a citation, with a tagger that costs nothing, 23 November 2026.",
        ),
        "## Plain CPUs: measured, multiplied",
        _lines(
            f"{CITATIONS / 1e6:.0f} million ÷ {rate / cores:.1f} citations/s a core = "
            f"**{core_hours:,.0f} core-hours**: {core_hours / 64:.1f} hours on 64 cores, "
            f"{core_hours / 512:.1f} on 512.",
            "Cost: core-hours × price. At 0.04 USD a core-hour (an assumption; put your own) "
            f"{0.04 * core_hours:,.0f} USD.",
            f"Size: {CITATIONS / 1e6:.0f} million × {size['all']:,.0f} bytes = "
            f"**{CITATIONS * size['all'] / 1e9:,.0f} GB** of Parquet.",
            "Bottleneck: the encoder's matrix products. Files are independent, so workers add up; "
            "two workers on two cores gave "
            f"{results['ratios']['pipeline-flink-2 over pipeline-flink-1']:.2f} times one.",
            "Buy: many cores that multiply bf16 natively (AMX first, then AVX-512 bf16), 2 GiB of "
            "memory a worker, one worker a core with `--threads 1`.",
        ),
        "## GPUs: arithmetic, not measured",
        "**No GPU was available. The tables show the throughput at a fraction of the data sheet's "
        "bf16 rate: estimates, not measurements.** Operations of a citation: 2 × parameters × "
        "word pieces + 4 × layers × width × word pieces² "
        + "; ".join(f"{x.name}: {x.flops(pieces) / 1e9:.1f} GFLOP" for x in (SHIPPED, BASE))
        + ". Hours = citations × operations ÷ (fraction × rate × GPUs).",
    ]
    for accelerator in (H200, EIGHT_H200, L4):
        parts += [
            f"### {accelerator.name[0].upper()}{accelerator.name[1:]}",
            _hours(accelerator, pieces),
            _lines(*_advice(accelerator, pieces, feeding)),
        ]
    parts += [
        "## What feeds a GPU",
        _lines(
            f"Tokenising: {CITATIONS / 1e6:.0f} million × {pieces:.0f} ÷ "
            f"{tokeniser / cores / 1000:,.0f} thousand word pieces/s a core = {tokenising:,.1f} "
            "core-hours.",
            f"All else around the tagger: {CITATIONS / 1e6:.0f} million × {AROUND_MS} ms = "
            f"{around:,.1f} core-hours.",
            f"Together **{feeding:,.1f} core-hours** for PubMed, whatever the GPU: to end in "
            f"three hours takes {feeding / 3:.0f} cores as these are. Part of it runs under "
            "Python's lock, so give a GPU several worker processes rather than one.",
            f"Writing: {CITATIONS * size['all'] / 1e9:,.0f} GB in three hours are "
            f"{CITATIONS * size['all'] / 1e6 / 3 / _HOUR:,.0f} MB/s, which one disk or one object "
            "store takes.",
            "Reading: the baseline is some 1,300 files; a file is read by one worker, so up to "
            "1,300 workers have work.",
        ),
    ]
    return "\n\n".join(parts) + "\n"


def _hours(accelerator: Accelerator, pieces: float) -> str:
    head = ["encoder", *(f"at {100 * share:.0f} % of the data sheet" for share in _SHARES)]
    rows = []
    for encoder in (SHIPPED, BASE):
        cells = []
        for share in _SHARES:
            rate = share * accelerator.flops * accelerator.count / encoder.flops(pieces)
            cells.append(f"{_time(CITATIONS / rate)} ({rate:,.0f} citations/s)")
        rows.append([encoder.name, *cells])
    lines = ["| " + " | ".join(head) + " |", "|---|" + "---:|" * len(_SHARES)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def _advice(accelerator: Accelerator, pieces: float, feeding: float) -> list[str]:
    share = _SHARES[1]
    hours = {
        encoder.name: CITATIONS
        * encoder.flops(pieces)
        / (share * accelerator.flops * accelerator.count)
        / _HOUR
        for encoder in (SHIPPED, BASE)
    }
    needed = {name: feeding / time / accelerator.count for name, time in hours.items()}
    base = hours[BASE.name] * accelerator.count
    return [
        f"Cost of BERT-base at {100 * share:.0f} %: {base:.1f} GPU-hours × your price.",
        f"Bottleneck: cores to feed it. At {100 * share:.0f} % one GPU takes what "
        f"{needed[BASE.name]:.1f} cores make with BERT-base, and {needed[SHIPPED.name]:.1f} with "
        "the shipped encoder: with fewer, the time is that of the feeding below.",
        _BUY[accelerator.name],
    ]


_BUY: Final = {
    "H200": "Buy: a machine with at least 16 cores beside the GPU. One is enough for a baseline a "
    "year and the daily updates.",
    "eight H200": "Buy only if the baseline must be done within the hour: a worker a GPU on Flink "
    "(`--parallelism=8`), and some 100 cores to feed them.",
    "twenty L4": "Buy: Dataflow workers of one L4 and 16 cores or more each. The graph is built "
    "and checked for Dataflow, but was never run there.",
}


def _time(seconds: float) -> str:
    if seconds < _HOUR:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / _HOUR:.1f} h"


def _lines(*texts: str) -> str:
    return "\n".join(f"* {text}" for text in texts)
