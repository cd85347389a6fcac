"""Counters, gauges and histograms, as Beam metrics that every runner can export.

A histogram consists of counters, as in Prometheus: `NAME_count`, `NAME_sum`, and for each bound
`NAME_le_BOUND`, the number of observations of at most that bound. Beam's own distributions are not
enough: Flink's Prometheus reporter exports them as zero.
"""

from collections.abc import Mapping, Sequence

from apache_beam.metrics.metric import Metrics

NAMESPACE = "pubner"

BOUNDS: Mapping[str, Sequence[int]] = {
    "batch_citations": (1, 10, 50, 100, 250, 500, 1000),
    "batch_word_pieces": (100, 1_000, 5_000, 20_000, 50_000, 100_000, 250_000),
    "inference_milliseconds": (10, 100, 500, 1_000, 5_000, 10_000, 30_000),
    "part_records": (0, 1, 10, 100, 500, 1000, 10_000),
    "swap_milliseconds": (500, 1_000, 2_000, 5_000, 10_000, 30_000, 120_000),
    "write_milliseconds": (5, 10, 25, 50, 100, 500, 2_000),
}
"""The histograms and their bounds; observations above the last bound are in `_count` alone."""


def count(name: str, by: int = 1) -> None:
    """Add `by` to a counter."""
    Metrics.counter(NAMESPACE, name).inc(by)


def gauge(name: str, value: int) -> None:
    """Set the current value of a gauge."""
    Metrics.gauge(NAMESPACE, name).set(value)


def observe(name: str, value: int) -> None:
    """Add one observation to the histogram `name` of `BOUNDS`."""
    count(f"{name}_count")
    count(f"{name}_sum", value)
    for bound in BOUNDS[name]:
        if value <= bound:
            count(f"{name}_le_{bound}")
