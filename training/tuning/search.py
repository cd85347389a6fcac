"""The search itself: draw a recipe, train it, score it on devel; again, until there are enough."""

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
    """What a search is made of.

    `trials` is how many the study is to have, those of earlier starts and other processes
    included; the first `startup_trials` are drawn at random and go to their ends. The search and
    every training draw from the recipe's seed.
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
        """Return everything that shapes the search, as JSON values."""
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
    """Open the study of `search` in its output folder, or make it there.

    :raises OutputError: if the folder cannot be used, or holds a study of other settings.
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
    """Run trials until the study has enough of them; return False where `should_stop` ended it.

    :param work: is told what the search is at
    :param log: takes one line as a trial begins and one as it ends
    :param on_trial: called behind each trial that ended
    :raises TrainingError: if training cannot begin at all (a recipe that does not fit the encoder).
    """
    work = work or Work()
    while not should_stop():
        opened = study.take(search.trials)
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
    """Train one recipe and end the trial; return what came of it, in words."""
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
    # What a process that was killed may have left under this number.
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
        return f"pruned behind epoch {pruned[0]}, devel strict F1 {means[-1]:.4f}"
    if trained is None:
        study.interrupt(opened)
        return "stopped; its values are queued again"
    study.complete(opened, max(means), {SECONDS: round(trained.seconds, 1)})
    return f"devel strict F1 {max(means):.4f}, {trained.seconds:,.0f} s"


def _failure(error: Exception) -> str:
    """Return why values cannot be trained with."""
    if isinstance(error, torch.OutOfMemoryError):
        return "the device has too little memory for these values"
    # Weights that overflow show in the loss, or (RecordError) only in devel's tag scores.
    return "diverged: the loss or the scores are no numbers"


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
