"""`pubner train stl` and `pubner train mtl`: a corpus or several in, a checkpoint out."""

import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from pydantic import Field

from schemas.errors import SettingsError
from schemas.manifest import HeadCalibration
from training.calibration import calibrate_on_devel
from training.corpora.corpus import corpora_root
from training.encoders import MINILM
from training.export import export_checkpoint
from training.mlm.text import read_texts
from training.outputs import prepare_output
from training.precision import trains_in_bf16
from training.progress import Work, show_work, stop_signals
from training.recipe import RECIPES, Recipe, changes_of, find_recipe
from training.run import (
    LoadedCorpus,
    TrainedModel,
    TrainingRun,
    load_training_corpora,
    run_training,
)
from training.scoring import encoder_of
from worker.checkpoint import MANIFEST
from worker.command import Settings, human_console, parse_settings, print_table, write_json
from worker.encoder import choose_device

if TYPE_CHECKING:
    from rich.console import Console

STATE = ".training-state"


class TrainSettings(Settings):
    """Options of `pubner train`."""

    corpus: tuple[str, ...] = Field((), description="corpora to train on, one head each")
    output: Path = Field(description="folder for the checkpoint; a broken run goes on in it")
    data: Path | None = Field(None, description="folder of the corpora")
    recipe: str = Field("compact", description=f"{', '.join(RECIPES)}, or a JSON file with one")
    set: tuple[str, ...] = Field((), description="changes of the recipe, such as dropout=0.2")
    encoder: str = Field(
        MINILM, description="minilm, a folder, a hub id, or a checkpoint to go on from"
    )
    teacher: tuple[str, ...] = Field(
        (), description="checkpoints whose soft tags are learned from; several teach together"
    )
    texts: tuple[str, ...] = Field(
        (), description="JSONL files of titles and abstracts without gold that teachers read too"
    )
    epochs: int | None = Field(None, description="changes the recipe's number of epochs")
    learning_rate: float | None = Field(None, description="changes the recipe's learning rate")
    batch_windows: int | None = Field(None, description="changes the recipe's windows a batch")
    max_sentences: int | None = Field(None, description="changes the longest window's sentences")
    max_pieces: int | None = Field(None, description="changes the longest window's word pieces")
    seed: int | None = Field(None, description="changes the recipe's seed")
    calibrate: bool = Field(True, description="fit the scores to devel, so that they are honest")
    device: str = Field("auto", description="auto, cpu, cuda or cuda:N")
    threads: int | None = Field(None, description="CPU threads; default: the library's choice")
    save_seconds: float = Field(300.0, ge=0, description="seconds between two saved states")
    restart: bool = Field(False, description="throw away what the output folder holds")
    json_file: str | None = Field(
        None, description="write devel scores and cost as JSON; - for stdout"
    )


def stl(argv: Sequence[str]) -> int:
    """Run `pubner train stl`: one corpus, one head."""
    settings = parse_settings(
        TrainSettings,
        argv,
        prog="pubner train stl",
        description="Fine-tune an encoder on one corpus (single-task).",
    )
    if len(settings.corpus) != 1:
        raise SettingsError(
            f"--corpus names {len(settings.corpus)} corpora, expected one (such as ncbi-disease); "
            "for several use: pubner train mtl"
        )
    return train(settings)


def mtl(argv: Sequence[str]) -> int:
    """Run `pubner train mtl`: several corpora, a shared encoder, one head each."""
    settings = parse_settings(
        TrainSettings,
        argv,
        prog="pubner train mtl",
        description="Fine-tune a shared encoder on several corpora, one head each (multi-task).",
    )
    names = settings.corpus or ("ncbi-disease", "bc5cdr", "bc2gm", "jnlpba")
    if len(set(names)) != len(names):
        raise SettingsError(f"--corpus names a corpus twice: {', '.join(names)}")
    return train(settings.model_copy(update={"corpus": names}))


def train(settings: TrainSettings) -> int:
    """Train, export and report; return the exit code.

    :raises TrainingError: if the output folder holds something else, or the run cannot go on.
    """
    recipe = _recipe(settings)
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
    corpora = load_training_corpora(root, settings.corpus, work, console.print)
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

    def tell(epoch: int, scores: dict[str, float]) -> bool:
        listed = ", ".join(f"{name} {value:.4f}" for name, value in scores.items())
        console.print(f"Epoch {epoch + 1}: devel strict F1 {listed}")
        return True

    with stop_signals(work) as stopped:
        trained = run_training(
            run,
            on_epoch=tell,
            should_stop=lambda: bool(stopped),
            say=console.print,
            work=work,
        )
    if trained is None:
        console.print("Stopped; the same command goes on from here.")
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
    """Fit the scores of the weights that are exported, before they are."""
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


def _texts(paths: Sequence[str], say: Callable[[str], None]) -> tuple[str, ...]:
    out: list[str] = []
    for path in paths:
        passages, source = read_texts(Path(path))
        if source.bad_lines:
            say(f"{path}: {source.bad_lines:,} lines left out; {source.first_problem}")
        out += [passage.text for passage in passages]
    return tuple(out)


def _recipe(settings: TrainSettings) -> Recipe:
    """Return the recipe with the changes that options name; --set goes last."""
    changes: dict[str, Any] = {
        "epochs": settings.epochs,
        "learning_rate": settings.learning_rate,
        "batch_windows": settings.batch_windows,
        # A number of windows takes the place of the recipe's budget of word pieces.
        "batch_pieces": None if settings.batch_windows is None else 0,
        "max_sentences": settings.max_sentences,
        "max_pieces": settings.max_pieces,
        "seed": settings.seed,
    }
    recipe = find_recipe(settings.recipe, **changes)
    return replace(recipe, **changes_of(settings.set))
