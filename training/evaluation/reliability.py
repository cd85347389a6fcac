"""Reliability diagrams as SVG: confidence against precision, a panel a head.

The bins are those of the expected calibration error; below each panel is the density of scores. The
output is deterministic to the byte.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from training.evaluation.calibration import Bin, bins_error
from training.reports.drawing import new_figure, save_svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_STYLES = (("#2b6cb0", "o"), ("#a0aec0", "s"), ("#c05621", "^"))
_GRID, _INK = "#e2e8f0", "#1a202c"


def write_reliability(
    panels: Mapping[str, Mapping[str, Sequence[Bin]]], path: Path, *, title: str = ""
) -> None:
    """Draw one panel per head, with one line per set of bins, such as before and after.

    Each point is a bin; the legend shows the error of each line, and bars below show the density of
    scores. The file is written atomically, and parent folders are created.

    :param panels: bins by head, then by the line's name; a line with an empty name has no name in
        the legend
    :raises OutputError: if the file cannot be written.
    """
    count = max(1, len(panels))
    columns = min(2, count)
    rows = -(-count // columns)
    with _style():
        figure = new_figure(4.1 * columns, 4.4 * rows + 0.3)
        if title:
            figure.suptitle(title, fontsize="medium")
        grid = figure.add_gridspec(2 * rows, columns, height_ratios=[4, 1] * rows)
        for number, (head, lines) in enumerate(panels.items()):
            row, column = divmod(number, columns)
            above = figure.add_subplot(grid[2 * row, column])
            below = figure.add_subplot(grid[2 * row + 1, column], sharex=above)
            _draw_points(above, head, lines)
            _draw_counts(below, lines)
        save_svg(figure, path)


def _draw_points(axes: "Axes", head: str, lines: Mapping[str, Sequence[Bin]]) -> None:
    axes.plot([0, 1], [0, 1], color=_INK, linewidth=0.8, linestyle=":", zorder=1)
    for number, (name, bins) in enumerate(lines.items()):
        colour, marker = _style_of(number, len(lines))
        error = f"ECE {bins_error(bins):.3f}"
        axes.plot(
            [one.confidence for one in bins],
            [one.precision for one in bins],
            color=colour,
            marker=marker,
            markersize=4,
            linewidth=1.2,
            label=f"{name}: {error}" if name else error,
            zorder=3,
        )
    axes.set_title(head, fontsize="medium")
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.02)
    axes.set_ylabel("precision (strict)")
    axes.tick_params(labelbottom=False)
    axes.grid(visible=True, color=_GRID, linewidth=0.6)
    axes.legend(frameon=False, loc="upper left", fontsize="small")


def _draw_counts(axes: "Axes", lines: Mapping[str, Sequence[Bin]]) -> None:
    """Draw each bin as a bar over the scores nearest to it, with the density of spans as height.

    Bins have equal mass, so bars are thin and high where scores are dense.
    """
    for number, bins in enumerate(lines.values()):
        colour, _ = _style_of(number, len(lines))
        middles = [one.confidence for one in bins]
        edges = [0.0, *((a + b) / 2 for a, b in pairwise(middles)), 1.0]
        spans = sum(one.count for one in bins)
        if not bins:
            continue
        heights = [
            one.count / spans / max(right - left, 1e-3)
            for one, (left, right) in zip(bins, pairwise(edges), strict=True)
        ]
        last = number == len(lines) - 1
        axes.stairs(heights, edges, color=colour, fill=last, alpha=0.8, zorder=2 - last)
    counts = {(sum(one.count for one in bins), len(bins)) for bins in lines.values()}
    summary = " and ".join(f"{spans:,} spans found, {bins} bins" for spans, bins in sorted(counts))
    axes.set_xlabel(f"confidence ({summary})")
    axes.set_yscale("symlog", linthresh=1.0)
    axes.set_yticks([])
    axes.set_ylabel("density")


def _style_of(number: int, lines: int) -> tuple[str, str]:
    """Return a line's colour and marker; the last line, the current state, is emphasised."""
    return _STYLES[(lines - 1 - number) % len(_STYLES)]


def _style() -> AbstractContextManager[None]:
    """Make the SVG deterministic, with text kept as text."""
    import matplotlib as mpl

    return mpl.rc_context({"svg.hashsalt": "pubner", "svg.fonttype": "none", "font.size": 9.0})
