"""The search loop: draw a recipe, train it, score it on devel, until there are enough trials."""

import hashlib
import math
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import torch

from schemas.errors import DivergenceError, RecordError
from training.corpora.tsv import Sentence
from training.encoders.names import encoder_folder
from training.finetune.run import LoadedCorpus, TrainingRun, run_training
from training.recipes.recipe import Recipe
from training.reports.progress import Work
from training.tuning.results import DEVEL, EPOCHS, SECONDS
from training.tuning.space import (
    Dimension,
    apply_values,
    distributions,
    show_values,
    starting_values,
)
from training.tuning.study import OpenTrial, SharedStudy, make_pruner
from worker.checkpoint.folder import MANIFEST, read_manifest


@dataclass(frozen=True, slots=True, eq=False)
class Search:
    """The settings of a search.

    `trials` is the total number for the study, including those of earlier starts and other
    processes; the first `startup_trials` are drawn at random and are never pruned. The search and
    every training run use the recipe's seed.
    """

    recipe: Recipe
    space: tuple[Dimension, ...]
    corpora: Sequence[LoadedCorpus]
    encoder: str
    output: Path
    trials: int
    startup_trials: int
    pruner: str
    device: torch.device
    bf16: bool

    def identity(self) -> dict[str, Any]:
        """Return everything that determines the search, as JSON values."""
        return {
            "corpora": {
                corpus.entry.name: [corpus.entry.sha256, _digest(corpus.devel.sentences)]
                for corpus in self.corpora
            },
            "encoder": _encoder_identity(self.encoder),
            "recipe": self.recipe.values(),
            "space": {dimension.name: [dimension.low, dimension.high] for dimension in self.space},
            "pruner": self.pruner,
            "startup_trials": self.startup_trials,
        }


def open_study(search: Search) -> SharedStudy:
    """Open or create the study of `search` in its output folder.

    :raises OutputError: if the folder cannot be used, or holds a study with other settings.
    :raises SettingsError: if there is no such pruner.
    """
    epochs = [int(d.high) for d in search.space if d.name == "epochs"] or [search.recipe.epochs]
    return SharedStudy(
        search.output,
        identity=search.identity(),
        space=distributions(search.space),
        start=starting_values(search.space, search.recipe),
        seed=search.recipe.seed,
        startup_trials=search.startup_trials,
        pruner=make_pruner(search.pruner, startup_trials=search.startup_trials, epochs=epochs[0]),
    )


def run_search(
    search: Search,
    study: SharedStudy,
    *,
    work: Work | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    log: Callable[[str], None] = lambda _: None,
    on_trial: Callable[[], None] = lambda: None,
) -> bool:
    """Run trials until the study has enough of them; return False if `should_stop` ended it.

    :param work: receives the progress of the search
    :param log: called with a line when a trial begins and when it ends
    :param on_trial: called after each trial
    :raises TrainingError: if no training can begin (a recipe that does not fit the encoder).
    """
    work = work or Work()
    while not should_stop():
        opened = study.begin_trial(search.trials)
        if opened is None:
            return True
        log(f"Trial {opened.trial.number}: {show_values(opened.trial.params)}")
        try:
            with work.stage(f"trial {opened.trial.number + 1} of {search.trials}"):
                outcome = _run_trial(search, study, opened, work, should_stop)
        except BaseException:
            study.interrupt(opened)
            raise
        log(f"Trial {opened.trial.number}: {outcome}")
        on_trial()
    return False


def _run_trial(
    search: Search,
    study: SharedStudy,
    opened: OpenTrial,
    work: Work,
    should_stop: Callable[[], bool],
) -> str:
    """Train one recipe and end the trial; return a text on its outcome."""
    recipe = apply_values(search.recipe, opened.trial.params)
    means: list[float] = []
    pruned: list[int] = []

    def on_epoch(epoch: int, scores: dict[str, float]) -> bool:
        means.append(fmean(scores.values()))
        notes: dict[str, Any] = {EPOCHS: epoch + 1}
        if means[-1] >= max(means):
            notes[DEVEL] = scores
        goes_on = study.report(opened, epoch + 1, means[-1], notes, last=epoch + 1 >= recipe.epochs)
        if not goes_on:
            pruned.append(epoch + 1)
        return goes_on

    run = TrainingRun(
        recipe=recipe,
        corpora=search.corpora,
        encoder=search.encoder,
        state=opened.folder,
        device=search.device,
        bf16=search.bf16,
        save_seconds=math.inf,
    )
    # Remove what a killed process may have left under this number.
    shutil.rmtree(opened.folder, ignore_errors=True)
    try:
        trained = run_training(
            run,
            work=work,
            on_epoch=on_epoch,
            should_stop=should_stop,
            log=lambda _: None,
        )
    except (DivergenceError, RecordError, torch.OutOfMemoryError) as error:
        if not pruned:
            reason = _failure(error)
            study.fail(opened, reason)
            return f"failed, {reason}"
        trained = None
    if pruned:
        study.prune(opened)
        return f"pruned after epoch {pruned[0]}, devel strict F1 {means[-1]:.4f}"
    if trained is None:
        study.interrupt(opened)
        return "stopped; its values are queued again"
    study.complete(opened, max(means), {SECONDS: round(trained.seconds, 1)})
    return f"devel strict F1 {max(means):.4f}, {trained.seconds:,.0f} s"


def _failure(error: Exception) -> str:
    """Return why training failed with the trial's values."""
    if isinstance(error, torch.OutOfMemoryError):
        return "the device has too little memory for these values"
    # Overflow appears in the loss, or (RecordError) only in the tag scores on devel.
    return "diverged: the loss or the scores are not finite"


def _digest(sentences: Sequence[Sentence]) -> str:
    digest = hashlib.sha256()
    for sentence in sentences:
        digest.update(repr((sentence.words, sentence.tags)).encode())
    return digest.hexdigest()


def _encoder_identity(name: str) -> str:
    folder = encoder_folder(name)
    if folder is not None and (folder / MANIFEST).is_file():
        return f"checkpoint {read_manifest(folder).id}"
    return name
