"""The command `pubner tune`: a hyperparameter search on devel that writes the best recipe."""

import os
import shlex
from collections.abc import Sequence
from functools import partial

import torch
from optuna.trial import FrozenTrial, TrialState
from rich.console import Console

from schemas.errors import TrainingError
from training.corpora.corpus import corpora_root
from training.finetune.precision import trains_in_bf16
from training.finetune.run import load_training_corpora
from training.reports.progress import Work, show_work, stop_signals
from training.settings.tune import TuneSettings, recipe_of
from training.tuning.names import BEST_FILE, STUDY_FILE
from training.tuning.plots import HISTORY_FILE, IMPORTANCE_FILE, plot_history, plot_importance
from training.tuning.results import (
    Best,
    find_best,
    trial_columns,
    trial_rows,
    trial_values,
    write_best,
)
from training.tuning.search import Search, open_study, run_search
from training.tuning.space import choose_space
from training.tuning.study import SharedStudy
from worker.cli.command import human_console, print_table, write_json
from worker.network.encoder import choose_device

IMPORTANCE_TRIALS = 5
"""The minimum number of completed trials for computing importances."""


def tune(settings: TuneSettings) -> int:
    """Search and report; return the exit code.

    :raises SettingsError: if an option is wrong.
    :raises OutputError: if the output folder holds a search with other settings.
    :raises TrainingError: if no trial could be completed.
    """
    console = human_console(settings.json_file)
    with show_work(console) as work:
        search = _make_search(settings, console, work)
        study, best, code = _tune(settings, search, console, work)
    trials = study.trials()
    if settings.json_file:
        write_json(
            {
                "output": str(settings.output),
                "best": None if best is None else best.trial,
                "trials": trial_values(trials),
            },
            settings.json_file,
        )
    if code == 0 and best is None and not any(not t.state.is_finished() for t in trials):
        raise TrainingError(
            f"none of {settings.trials} trials was trained to its end; "
            "lower the bounds of the learning rate (--tune learning-rate=LOW:HIGH)"
        )
    return code


def _tune(
    settings: TuneSettings, search: Search, console: Console, work: Work
) -> tuple[SharedStudy, Best | None, int]:
    """Search, print and plot; return the study, its best trial and the exit code."""
    study = open_study(search)
    found = [trial for trial in study.trials() if trial.state.is_finished()]
    console.print(
        f"{settings.trials} trials of {', '.join(d.option for d in search.space)}, from the recipe "
        f"{search.recipe.name}" + (f"; {len(found)} are there already." if found else ".")
    )

    def keep_best() -> None:
        trials = study.trials()
        best = find_best(trials, search.recipe)
        if best is not None:
            with study.locked():
                write_best(best, _finished(trials), settings.output)

    with stop_signals(work) as stopped:
        ended = run_search(
            search,
            study,
            work=work,
            should_stop=lambda: bool(stopped),
            log=console.print,
            on_trial=keep_best,
        )
    with work.stage("drawing the plots"):
        best = _report(settings, search, study, console)
    if not ended:
        console.print("Stopped; the same command resumes from here.")
        return study, best, 128 + stopped[0]
    return study, best, 0


def _make_search(settings: TuneSettings, console: Console, work: Work) -> Search:
    recipe = recipe_of(settings)
    space = choose_space(
        settings.tune,
        recipe,
        corpora=len(settings.corpus),
        fixed=() if settings.epochs is None else ("epochs",),
    )
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    device = choose_device(settings.device)
    root = corpora_root(settings.data, os.environ)
    log = partial(console.print, soft_wrap=True)
    return Search(
        recipe=recipe,
        space=space,
        corpora=load_training_corpora(root, settings.corpus, work, log),
        encoder=settings.encoder,
        output=settings.output,
        trials=settings.trials,
        startup_trials=settings.startup_trials,
        pruner=settings.pruner,
        device=device,
        bf16=trains_in_bf16(device),
    )


def _report(
    settings: TuneSettings, search: Search, study: SharedStudy, console: Console
) -> Best | None:
    """Print the trials, write the plots and the best recipe; return the best trial."""
    trials = study.trials()
    names = [dimension.name for dimension in search.space]
    console.print(f"Trials of {settings.output / STUDY_FILE}:", soft_wrap=True)
    print_table(
        console,
        trial_rows(trials, names),
        columns=trial_columns(names),
        right=(0, 2, 3, *range(4, 5 + len(names))),
    )
    best = find_best(trials, search.recipe)
    if best is not None:
        with study.locked():
            write_best(best, _finished(trials), settings.output)
            plot_history(trials, settings.output / HISTORY_FILE)
        _plot_importance(settings, search, study, trials, console)
        heads = ", ".join(f"{name} {value:.4f}" for name, value in best.heads.items())
        console.print(f"Trial {best.trial} is best: devel strict F1 {heads}. To train with it:")
        console.print(f"  {_train_command(settings)}", soft_wrap=True)
    return best


def _plot_importance(
    settings: TuneSettings,
    search: Search,
    study: SharedStudy,
    trials: Sequence[FrozenTrial],
    console: Console,
) -> None:
    path = settings.output / IMPORTANCE_FILE
    done = sum(trial.state == TrialState.COMPLETE for trial in trials)
    if done < IMPORTANCE_TRIALS:
        console.print(
            f"No {IMPORTANCE_FILE} yet: it takes {IMPORTANCE_TRIALS} trials trained to their ends, "
            f"and there are {done}."
        )
        return
    try:
        fractions = study.importance(search.recipe.seed)
    except ValueError:
        console.print(f"No {IMPORTANCE_FILE}: all {done} trials have the same score.")
        return
    with study.locked():
        plot_importance(fractions, done, path)


def _finished(trials: Sequence[FrozenTrial]) -> int:
    return sum(trial.state in (TrialState.COMPLETE, TrialState.PRUNED) for trial in trials)


def _train_command(settings: TuneSettings) -> str:
    """Return the command that trains with the best recipe."""
    arguments = ["pubner", "train", "stl" if len(settings.corpus) == 1 else "mtl"]
    arguments += ["--corpus", ",".join(settings.corpus)]
    if settings.data is not None:
        arguments += ["--data", str(settings.data)]
    arguments += ["--encoder", settings.encoder, "--recipe", str(settings.output / BEST_FILE)]
    arguments += ["--output", f"{settings.output}-checkpoint"]
    return shlex.join(arguments)
