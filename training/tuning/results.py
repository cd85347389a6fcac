"""The results of a search: the best recipe as a file, the trials as a table."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from training.recipes.recipe import Recipe
from training.tuning.names import BEST_FILE
from training.tuning.space import apply_values, show_value
from training.tuning.study import was_interrupted
from worker.cli.console import write_json

DEVEL, EPOCHS, SECONDS = "devel", "epochs_run", "seconds"
"""User attributes of a trial: devel strict F1 by head in its best epoch, epochs run, cost."""


@dataclass(frozen=True, slots=True)
class Best:
    """The best trial so far: its recipe, mean devel strict F1, the same by head, its number."""

    recipe: Recipe
    score: float
    heads: dict[str, float]
    trial: int
    values: dict[str, Any]


def find_best(trials: Sequence[FrozenTrial], base: Recipe) -> Best | None:
    """Return the best of the completed trials, the first of equals.

    Its recipe is `base` with the trial's values, named `<base>-tuned`.
    """
    done = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    if not done:
        return None
    best = max(done, key=lambda trial: (trial.value, -trial.number))
    name = base.name if base.name.endswith("-tuned") else f"{base.name}-tuned"
    recipe = replace(apply_values(base, best.params), name=name)
    return Best(
        recipe, float(best.value or 0.0), best.user_attrs[DEVEL], best.number, dict(best.params)
    )


def best_values(best: Best, trials: int) -> dict[str, Any]:
    """Return the content of `best.json`."""
    return {
        "recipe": best.recipe.values(),
        "devel": {"mean_strict_f1": best.score, "strict_f1": best.heads},
        "trial": best.trial,
        "trials": trials,
        "tuned": best.values,
    }


def write_best(best: Best, trials: int, output: Path) -> Path:
    """Write `best.json` into `output` atomically."""
    path = output / BEST_FILE
    write_json(best_values(best, trials), str(path))
    return path


def outcome(trial: FrozenTrial) -> str:
    """Return the state of a trial in one word."""
    if was_interrupted(trial):
        return "interrupted"
    return {
        TrialState.COMPLETE: "complete",
        TrialState.PRUNED: "pruned",
        TrialState.FAIL: "diverged",
        TrialState.RUNNING: "running",
        TrialState.WAITING: "waiting",
    }[trial.state]


def trial_columns(names: Sequence[str]) -> list[str]:
    """Return the columns of the table of trials, for the hyperparameters `names`."""
    return [
        "trial", "outcome", "devel F1", "epochs run", "s",
        *(name.replace("_", "-") for name in names),
    ]  # fmt: skip


def trial_rows(trials: Sequence[FrozenTrial], names: Sequence[str]) -> list[list[str]]:
    """Return one row per trial, the best score first, those without a score last."""
    ordered = sorted(
        trials,
        key=lambda trial: (
            trial.state != TrialState.COMPLETE,
            trial.value is None,
            -(trial.value or 0.0),
            trial.number,
        ),
    )
    return [
        [
            str(trial.number),
            outcome(trial),
            "" if trial.value is None else f"{trial.value:.4f}",
            str(trial.user_attrs.get(EPOCHS, "")),
            f"{trial.user_attrs[SECONDS]:,.0f}" if SECONDS in trial.user_attrs else "",
            *(show_value(trial.params[name]) if name in trial.params else "" for name in names),
        ]
        for trial in ordered
    ]


def trial_values(trials: Sequence[FrozenTrial]) -> list[dict[str, Any]]:
    """Return the trials, by number, as JSON values."""
    return [
        {
            "trial": trial.number,
            "outcome": outcome(trial),
            "mean_strict_f1": trial.value,
            "strict_f1": trial.user_attrs.get(DEVEL),
            "by_epoch": list(trial.intermediate_values.values()),
            "seconds": trial.user_attrs.get(SECONDS),
            "values": dict(trial.params),
        }
        for trial in trials
    ]
