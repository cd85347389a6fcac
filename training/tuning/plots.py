"""Plots of a search as SVG, deterministic to the byte."""

from collections.abc import Mapping, Sequence
from itertools import accumulate
from pathlib import Path

from optuna.trial import FrozenTrial, TrialState

from training.reports.drawing import new_figure, plot_style, save_svg
from training.tuning.study import was_interrupted

HISTORY_FILE, IMPORTANCE_FILE = "history.svg", "importance.svg"
_DONE, _CUT, _LOST, _BEST = "#2b6cb0", "#a0aec0", "#c05621", "#1a202c"


def plot_history(trials: Sequence[FrozenTrial], path: Path) -> None:
    """Plot the devel score of each trial by number, and the best so far.

    A pruned trial is drawn at its last score, one without a score at the bottom.
    """
    from matplotlib.ticker import MaxNLocator

    done = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    cut = [trial for trial in trials if trial.state == TrialState.PRUNED]
    lost = [t for t in trials if t.state == TrialState.FAIL and not was_interrupted(t)]
    with plot_style():
        figure = new_figure(6.4, 3.6)
        axes = figure.add_subplot()
        axes.scatter(*_points(done), s=28, color=_DONE, label="trained to the end", zorder=3)
        if cut:
            axes.scatter(
                *_points(cut), s=28, facecolors="none", edgecolors=_CUT, label="pruned", zorder=2
            )
        if lost:
            floor = axes.get_ylim()[0]
            axes.scatter(
                [trial.number for trial in lost], [floor] * len(lost), s=28, marker="x",
                color=_LOST, label="diverged", zorder=2, clip_on=False,
            )  # fmt: skip
            axes.set_ylim(bottom=floor)
        numbers, scores = _points(done)
        if numbers:
            end = max(trial.number for trial in trials)
            axes.step(
                [*numbers, end], [*accumulate(scores, max), max(scores)], where="post",
                color=_BEST, linewidth=1, label="best so far", zorder=1,
            )  # fmt: skip
        axes.set_xlabel("trial")
        axes.set_ylabel("mean strict F1, devel")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(visible=True, axis="y", color="#e2e8f0", linewidth=0.6)
        axes.legend(frameon=False, loc="best")
        save_svg(figure, path)


def plot_importance(fractions: Mapping[str, float], trials: int, path: Path) -> None:
    """Plot each hyperparameter's fraction of the score variance as a bar, the largest on top.

    :param trials: the number of trials the fractions are computed from
    """
    names = [name.replace("_", " ") for name in fractions][::-1]
    values = list(fractions.values())[::-1]
    with plot_style():
        figure = new_figure(6.4, 1.3 + 0.36 * len(names))
        axes = figure.add_subplot()
        bars = axes.barh(names, values, color=_DONE, height=0.6)
        axes.bar_label(bars, labels=[f"{value:.2f}" for value in values], padding=3)
        axes.set_xlim(0, 1.08 * max(values))
        axes.set_xlabel(f"fraction of the variance of devel F1 (fANOVA, {trials} trials)")
        save_svg(figure, path)


def _points(trials: Sequence[FrozenTrial]) -> tuple[list[int], list[float]]:
    scored = [(trial.number, trial.value) for trial in trials if trial.value is not None]
    return [number for number, _ in scored], [value for _, value in scored]
