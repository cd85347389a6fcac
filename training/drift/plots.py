"""Drift over the days as SVG: mentions per citation, score stability, unknown word pieces."""

from collections.abc import Sequence
from datetime import date
from html import escape
from io import StringIO
from typing import TYPE_CHECKING

from training.drift.report import CheckpointReport, DayReport
from training.reports.drawing import plot_style
from worker.drift.index import DriftLimits

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLOURS = ("#2b6cb0", "#c05621", "#2f855a", "#805ad5", "#b83280", "#4a5568")
_MARKERS = "osD^vP"
_GRID, _LIMIT = "#e2e8f0", "#c53030"


def drift_svg(report: CheckpointReport, limits: DriftLimits) -> str:
    """Return the plot of a checkpoint's days as an `svg` element for an HTML page.

    Days with too few citations or mentions to judge are omitted. The output is deterministic.
    """
    from matplotlib.figure import Figure

    with plot_style(report.checkpoint_id):
        figure = Figure(figsize=(8.6, 7.4), layout="constrained")
        rates, scores, unknown = figure.subplots(
            3, 1, sharex=True, gridspec_kw={"height_ratios": [4, 3, 2]}
        )
        days = [day.day for day in report.days]
        enough = [day for day in report.days if day.tally.citations >= limits.citations]
        _draw_rates(rates, report, enough)
        _draw_scores(scores, report, enough, limits)
        _draw_unknown(unknown, report, limits)
        _mark_days(unknown, days)
        handles, labels = rates.get_legend_handles_labels()
        if handles:
            figure.legend(
                handles, labels, loc="outside upper center", ncols=len(labels), frameon=False
            )
        _fix_layout(figure)
        drawn = StringIO()
        figure.savefig(drawn, format="svg", metadata={"Date": None}, facecolor="white")
    svg = drawn.getvalue()
    title = escape(f"Drift of checkpoint {report.checkpoint_id} by day")
    return svg[svg.index("<svg") :].replace("<svg", f'<svg role="img" aria-label="{title}"', 1)


def _fix_layout(figure: "Figure") -> None:
    """Lay the figure out, and round the layout, whose last digits differ between runs.

    The solver is not deterministic, and matplotlib derives the ids of clip paths from it.
    """
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for axes in figure.axes:
        left, bottom, width, height = (round(x, 6) for x in axes.get_position().bounds)
        axes.set_position((left, bottom, width, height))


def _draw_rates(axes: "Axes", report: CheckpointReport, days: Sequence[DayReport]) -> None:
    for number, head in enumerate(report.heads):
        colour, marker = _style_of(number)
        axes.plot(
            [day.day.toordinal() for day in days],
            [day.heads[head].mentions_per_citation for day in days],
            color=colour, marker=marker, markersize=4, linewidth=1.2, label=head,
        )  # fmt: skip
        if head in report.reference.heads:
            usual = report.reference.heads[head].mentions_per_citation
            axes.axhline(usual, color=colour, linewidth=0.9, linestyle=":")
    axes.set_ylabel("mentions per citation\n(dotted: reference)")
    axes.set_ylim(bottom=0)
    axes.grid(visible=True, axis="y", color=_GRID, linewidth=0.6)


def _draw_scores(
    axes: "Axes", report: CheckpointReport, days: Sequence[DayReport], limits: DriftLimits
) -> None:
    highest = limits.psi
    for number, head in enumerate(report.heads):
        colour, marker = _style_of(number)
        points = [
            (day.day.toordinal(), excess)
            for day in days
            if day.heads[head].mentions >= limits.mentions
            and (excess := day.heads[head].psi_excess) is not None
        ]
        highest = max([highest, *(excess for _, excess in points)])
        axes.plot(
            [place for place, _ in points], [excess for _, excess in points],
            color=colour, marker=marker, markersize=4, linewidth=1.2,
        )  # fmt: skip
    axes.axhline(limits.psi, color=_LIMIT, linewidth=1, linestyle="--")
    axes.set_ylim(0, 1.15 * highest)
    axes.set_ylabel("stability index of scores\nbeyond chance (dashed: limit)")
    axes.grid(visible=True, axis="y", color=_GRID, linewidth=0.6)


def _draw_unknown(axes: "Axes", report: CheckpointReport, limits: DriftLimits) -> None:
    points = [
        (day.day.toordinal(), 100 * share)
        for day in report.days
        if day.tally.texts >= limits.citations and (share := day.tally.unknown_share) is not None
    ]
    axes.plot(
        [place for place, _ in points], [share for _, share in points],
        color="#1a202c", marker="o", markersize=4, linewidth=1.2,
    )  # fmt: skip
    usual = report.reference.unknown_share
    if usual is not None:
        axes.axhline(
            100 * limits.unknown_limit(usual), color=_LIMIT, linewidth=1, linestyle="--"
        )  # fmt: skip
    axes.set_ylim(bottom=0)
    axes.set_ylabel("unknown\nword pieces, %")
    axes.grid(visible=True, axis="y", color=_GRID, linewidth=0.6)


def _mark_days(axes: "Axes", days: Sequence[date]) -> None:
    first, last = min(days).toordinal(), max(days).toordinal()
    margin = max(0.5, 0.03 * (last - first))
    axes.set_xlim(first - margin, last + margin)
    step = max(1, -(-(last - first + 1) // 10))
    ticks = range(first, last + 1, step)
    axes.set_xticks(list(ticks), [date.fromordinal(place).isoformat() for place in ticks])
    axes.set_xlabel("day (UTC)")


def _style_of(number: int) -> tuple[str, str]:
    return _COLOURS[number % len(_COLOURS)], _MARKERS[number % len(_MARKERS)]
