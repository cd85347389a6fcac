"""The plot of a checkpoint's days."""

from datetime import date

from tests.support.drift import annotations
from training.drift.plots import drift_svg
from training.drift.report import make_report
from worker.drift.index import DriftLimits
from worker.drift.tally import DriftTally, tally_of

LIMITS = DriftLimits(citations=50, mentions=50)


def test_the_same_days_give_the_same_plot_whatever_is_in_memory() -> None:
    tally = DriftTally()
    for day in range(1, 4):
        tally.add("c1", date(2026, 1, day), tally_of(annotations(100, seed=day)))
    [report] = make_report("out", tally, {}, LIMITS).checkpoints
    kept, drawn = [], set()
    for number in range(8):
        kept.append([bytearray(100 * number + size) for size in range(50 * number)])
        drawn.add(drift_svg(report, LIMITS))
    assert len(drawn) == 1
