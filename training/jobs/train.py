"""The commands `pubner train stl` and `mtl`: fine-tune an encoder and export a checkpoint."""

import os
import shutil
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from schemas.manifest import HeadCalibration
from training.corpora.corpus import corpora_root
from training.finetune.calibration import calibrate_on_devel
from training.finetune.export import export_checkpoint
from training.finetune.precision import trains_in_bf16
from training.finetune.run import (
    LoadedCorpus,
    TrainedModel,
    TrainingRun,
    load_training_corpora,
    run_training,
)
from training.finetune.scoring import encoder_of
from training.mlm.text import read_texts
from training.recipes.recipe import Recipe
from training.reports.outputs import prepare_output
from training.reports.progress import Work, show_work, stop_signals
from training.settings.train import STATE, TrainSettings, recipe_of
from worker.checkpoint.folder import MANIFEST
from worker.cli.command import human_console, print_table, write_json
from worker.network.encoder import choose_device

if TYPE_CHECKING:
    from rich.console import Console


def train(settings: TrainSettings) -> int:
    """Train, export and report; return the exit code.

    :raises TrainingError: if the output folder holds something else, or the run cannot resume.
    """
    recipe = recipe_of(settings)
    prepare_output(settings.output, restart=settings.restart, own=(MANIFEST, STATE))
    console = human_console(settings.json_file)
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    device = choose_device(settings.device)
    with show_work(console) as work:
        code, summary = _train(settings, recipe, device, console, work)
    if summary is not None and settings.json_file:
        write_json(summary, settings.json_file)
    return code


def _train(
    settings: TrainSettings, recipe: Recipe, device: torch.device, console: "Console", work: Work
) -> tuple[int, dict[str, Any] | None]:
    """Train, export and report; return the exit code, and a summary unless the run was stopped."""
    root = corpora_root(settings.data, os.environ)
    corpora = load_training_corpora(
        root, settings.corpus, work, partial(console.print, soft_wrap=True)
    )
    with work.stage("reading the texts"):
        texts = _texts(settings.texts, console.print)
    run = TrainingRun(
        recipe,
        corpora,
        settings.encoder,
        settings.output / STATE,
        device,
        bf16=trains_in_bf16(device),
        save_seconds=settings.save_seconds,
        teachers=settings.teacher,
        texts=texts,
    )

    def log_epoch(epoch: int, scores: dict[str, float]) -> bool:
        listed = ", ".join(f"{name} {value:.4f}" for name, value in scores.items())
        console.print(f"Epoch {epoch + 1}: devel strict F1 {listed}")
        return True

    with stop_signals(work) as stopped:
        trained = run_training(
            run,
            on_epoch=log_epoch,
            should_stop=lambda: bool(stopped),
            log=console.print,
            work=work,
        )
    if trained is None:
        console.print("Stopped; the same command resumes from here.")
        return 128 + stopped[0], None
    scores = trained.scores[trained.epoch]
    calibration = {}
    if settings.calibrate:
        console.print("Calibrating the scores on devel.")
        calibration = _calibrate(trained, recipe, corpora, device, work)
    manifest = export_checkpoint(
        settings.output,
        weights=trained.weights,
        tokeniser=trained.tokeniser,
        config=trained.config,
        tasks=trained.tasks,
        recipe=recipe,
        encoder_source=trained.encoder_source,
        corpora=[corpus.entry for corpus in corpora],
        metrics={f"devel/{name}": {"strict_f1": round(value, 4)} for name, value in scores.items()},
        calibration=calibration,
    )
    shutil.rmtree(run.state)
    print_table(
        console,
        [[name, f"{value:.4f}"] for name, value in scores.items()],
        columns=("head", "devel strict F1"),
        right=(1,),
        title=f"Checkpoint {manifest.id} in {settings.output}",
    )
    console.print(
        f"Epoch {trained.epoch + 1} of {recipe.epochs} was best; "
        f"{trained.seconds:,.0f} s of training."
    )
    return 0, {
        "id": manifest.id,
        "path": str(settings.output),
        "devel": scores,
        "seconds": trained.seconds,
        "epochs": trained.scores,
    }


def _calibrate(
    trained: TrainedModel,
    recipe: Recipe,
    corpora: Sequence[LoadedCorpus],
    device: torch.device,
    work: Work,
) -> dict[str, HeadCalibration]:
    """Calibrate the weights that will be exported."""
    encoder = encoder_of(
        trained.model,
        trained.tokeniser,
        trained.tasks,
        letter_case=recipe.letter_case,
        max_pieces=recipe.max_pieces,
        device=device,
    )
    devel = [corpus.devel for corpus in corpora]
    return calibrate_on_devel(encoder, devel, device, work=work)


def _texts(paths: Sequence[str], log: Callable[[str], None]) -> tuple[str, ...]:
    out: list[str] = []
    for path in paths:
        passages, source = read_texts(Path(path))
        if source.bad_lines:
            log(f"{path}: {source.bad_lines:,} lines left out; {source.first_problem}")
        out += [passage.text for passage in passages]
    return tuple(out)
