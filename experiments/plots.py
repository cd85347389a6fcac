"""The plots of the experiment page as SVG, deterministic to the byte."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.figures import (
    HEADS,
    JOINED,
    Difference,
    Row,
    Score,
    difference,
    f1,
    noise,
    signed,
    spread,
)
from training.reports.drawing import new_figure, plot_style, save_svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_BLUE, _ORANGE, _GREY, _GREEN = "#2b6cb0", "#c05621", "#a0aec0", "#2f855a"
_BAND, _GRID, _INK = "#edf2f7", "#e2e8f0", "#1a202c"
_STYLES = {
    "baseline-dictionary": ("v", "#4a5568"),
    JOINED: ("s", _GREY),
    "mtl-plain": ("D", _ORANGE),
    "mtl-best": ("o", _BLUE),
    "mtl-short": ("^", _GREEN),
    "mtl-short-direct": ("P", "#68d391"),
    "mtl-sentences": ("X", "#63b3ed"),
}
_OTHER = ("*", "#805ad5")


def plot_systems(rows: Sequence[Row], published: Mapping[str, float], path: Path) -> None:
    """Draw the devel and test F1 of each system by head, one panel each.

    Scores far below the rest (a baseline) are drawn at the bottom with their number.

    :param published: published test scores by head, drawn as lines
    """
    with plot_style():
        figure = new_figure(8.6, 4.2)
        panels = figure.subplots(1, 2, sharey=True)
        floor = _floor(rows)
        for axes, block in zip(panels, ("devel", "test"), strict=True):
            for number, row in enumerate(rows):
                shift = 0.13 * (number - (len(rows) - 1) / 2)
                _points(axes, row, block, shift, floor)
            for place, head in enumerate(HEADS):
                if block == "test" and head in published:
                    axes.hlines(
                        published[head], place - 0.42, place + 0.42, color=_INK, linewidth=1,
                        linestyle=":", label="BioBERT v1.1, published" if not place else None,
                    )  # fmt: skip
            axes.set_title(block, fontsize="medium")
            axes.set_xticks(range(len(HEADS)), list(HEADS.values()))
            axes.set_xlim(-0.6, len(HEADS) - 0.4)
            axes.grid(visible=True, axis="y", color=_GRID, linewidth=0.6)
        panels[0].set_ylim(bottom=floor)
        panels[0].set_ylabel("strict entity F1")
        handles, labels = panels[1].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=7, frameon=False)
        save_svg(figure, path)


def _floor(rows: Sequence[Row]) -> float:
    """Return the start of the score axis: below all systems except the baseline."""
    trained = [row for row in rows if not row["name"].startswith("baseline")] or rows
    found = [
        f1(row, block, head) for row in trained for block in ("devel", "test") for head in HEADS
    ]
    return min(score.mean for score in found if score) - 2.5


def _points(axes: "Axes", row: Row, block: str, shift: float, floor: float) -> None:
    marker, colour = _STYLES.get(row["name"], _OTHER)
    scores = [(place + shift, f1(row, block, head)) for place, head in enumerate(HEADS)]
    known = [(place, score) for place, score in scores if score]
    axes.errorbar(
        [place for place, _ in known],
        [max(score.mean, floor + 0.4) for _, score in known],
        yerr=[score.std or 0.0 for _, score in known],
        fmt=marker, color=colour, markersize=5, linewidth=1, label=row["name"],
    )  # fmt: skip
    for place, score in known:
        if score.mean < floor + 0.4:
            axes.annotate(
                f"{score.mean:.1f}", (place, floor + 0.4), xytext=(0, 6),
                textcoords="offset points", ha="center", fontsize="small", color=colour,
            )  # fmt: skip


def plot_differences(
    rows: Sequence[Row], base: Row, heads: Sequence[str], path: Path, *, pool: Sequence[Row]
) -> None:
    """Draw the difference of each cell's devel F1 from that of `base`, one panel per head.

    The band is twice the standard deviation of a difference of means over runs, pooled over `pool`.
    Bars are in the order of `rows`, the first on top.
    """
    names = [row["name"] for row in rows]
    with plot_style():
        figure = new_figure(1.7 + 2.3 * len(heads), 1.5 + 0.3 * len(rows))
        panels = figure.subplots(1, len(heads), sharex=True, sharey=True, squeeze=False)[0]
        reach = 0.0
        for axes, head in zip(panels, heads, strict=True):
            pooled = spread(pool, head)
            found = [difference(f1(row, "devel", head), f1(base, "devel", head)) for row in rows]
            bands = [noise(row, base, pooled) for row in rows]
            axes.barh(
                range(len(rows)), [2 * band for band in bands], left=[-band for band in bands],
                height=1.0, color=_BAND, zorder=0,
            )  # fmt: skip
            _bars(axes, found)
            ends = [abs(one.mean) + (one.std or 0.0) for one in found if one]
            reach = max([reach, *bands, *ends])
            axes.axvline(0, color=_INK, linewidth=0.9, zorder=4)
            axes.set_title(HEADS[head], fontsize="medium")
            axes.grid(visible=True, axis="x", color=_GRID, linewidth=0.6, zorder=1)
        panels[0].set_yticks(range(len(names)), names)
        panels[0].set_ylim(len(names) - 0.5, -0.5)
        panels[0].set_xlim(-1.6 * reach, 1.6 * reach)
        figure.supxlabel(f"devel F1 less {base['name']}'s, in points", fontsize="medium")
        save_svg(figure, path)


def _bars(axes: "Axes", found: Sequence[Difference | None]) -> None:
    for place, one in enumerate(found):
        if one is None:
            continue
        colour = _BLUE if one.mean >= 0 else _ORANGE
        axes.barh(place, one.mean, height=0.56, color=colour, zorder=2)
        if one.std is not None:
            axes.errorbar(
                one.mean, place, xerr=one.std, color=_INK, linewidth=1, capsize=2, zorder=5
            )
        reach = abs(one.mean) + (one.std or 0.0)
        right = one.mean >= 0
        axes.annotate(
            signed(one.mean),
            (reach if right else -reach, place),
            xytext=(4 if right else -4, 0), textcoords="offset points",
            ha="left" if right else "right", va="center", fontsize="small", zorder=6,
        )  # fmt: skip


def plot_bootstrap(compared: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Draw the multi-task minus single-task differences on test, with 95 % intervals."""
    with plot_style():
        figure = new_figure(6.6, 1.1 + 0.24 * len(compared))
        axes = figure.add_subplot()
        systems = list(dict.fromkeys(one["first"] for one in compared))
        for place, one in enumerate(compared):
            colour = (_GREY, _BLUE, _GREEN, _ORANGE, "#805ad5")[systems.index(one["first"]) % 5]
            axes.hlines(place, 100 * one["low"], 100 * one["high"], color=colour, linewidth=2)
            axes.plot(100 * one["difference"], place, "o", color=colour, markersize=5)
        axes.axvline(0, color=_INK, linewidth=0.9)
        axes.axvline(-0.5, color=_INK, linewidth=0.7, linestyle=":")
        axes.set_yticks(
            range(len(compared)), [f"{one['first']}, {HEADS[one['corpus']]}" for one in compared]
        )
        axes.invert_yaxis()
        axes.grid(visible=True, axis="x", color=_GRID, linewidth=0.6)
        axes.set_xlabel("test F1 less that of the single-task model, in points (dotted: −0.5)")
        save_svg(figure, path)


def plot_contexts(
    rows: Sequence[Row], ways: Mapping[str, Mapping[str, Mapping[str, Score]]], path: Path
) -> None:
    """Draw the scores of the same models on sentences, windows and whole documents.

    :param ways: scores by head, row name and context
    """
    with plot_style():
        figure = new_figure(1.2 + 2.5 * len(ways), 3.3)
        panels = figure.subplots(1, len(ways), squeeze=False)[0]
        for axes, (head, by_row) in zip(panels, ways.items(), strict=True):
            for row in rows:
                scores = by_row.get(row["name"], {})
                marker, colour = _STYLES.get(row["name"], _OTHER)
                axes.errorbar(
                    range(len(scores)),
                    [score.mean for score in scores.values()],
                    yerr=[score.std or 0.0 for score in scores.values()],
                    marker=marker, color=colour, markersize=5, linewidth=1, label=row["name"],
                )  # fmt: skip
                axes.set_xticks(range(len(scores)), list(scores))
            axes.set_title(HEADS[head], fontsize="medium")
            axes.margins(x=0.15)
            axes.grid(visible=True, axis="y", color=_GRID, linewidth=0.6)
        panels[0].set_ylabel("strict entity F1, devel")
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=5, frameon=False)
        save_svg(figure, path)
