"""`pubner tune`: its options, checked before anything is loaded."""

import os
from collections.abc import Sequence
from pathlib import Path

from pydantic import Field

from schemas.errors import SettingsError
from training.corpora.catalogue import Split
from training.corpora.corpus import corpora_root, require_corpora
from training.encoder_names import MINILM, encoder_folder
from training.recipe import Recipe, find_recipe
from training.tuning.names import BEST_FILE, PRUNERS, STUDY_FILE
from worker.command import Settings, parse_settings
from worker.devices import DeviceHere
from worker.paths import OutputPath
from worker.progress import show_loading


class TuneSettings(Settings):
    """Options of `pubner tune`."""

    corpus: tuple[str, ...] = Field((), description="corpora to train on, one head each")
    output: OutputPath = Field(description=f"folder for {STUDY_FILE}, {BEST_FILE} and the plots")
    data: Path | None = Field(None, description="folder of the corpora")
    recipe: str = Field("compact", description="recipe that the search begins from")
    encoder: str = Field(
        MINILM, description="minilm, a folder, a hub id, or a checkpoint to go on from"
    )
    trials: int = Field(20, ge=1, description="trials of the whole study, earlier ones included")
    tune: tuple[str, ...] = Field(
        (), description="what to change: NAME or NAME=LOW:HIGH,...; default: all that it can"
    )
    pruner: str = Field("median", description=f"ends weak trials early: {', '.join(PRUNERS)}")
    startup_trials: int = Field(
        6, ge=1, description="trials drawn at random before what they gave is gone by"
    )
    epochs: int | None = Field(None, description="one number of epochs for every trial")
    max_sentences: int | None = Field(None, description="changes the longest window's sentences")
    max_pieces: int | None = Field(None, description="changes the longest window's word pieces")
    seed: int | None = Field(None, description="seed of the search and of every training")
    device: DeviceHere = Field("auto", description="auto, cpu, cuda or cuda:N")
    threads: int | None = Field(None, description="CPU threads; default: the library's choice")
    json_file: str | None = Field(None, description="write the trials as JSON; - for stdout")


def run(argv: Sequence[str]) -> int:
    """Run `pubner tune`."""
    settings = parse_settings(
        TuneSettings,
        argv,
        prog="pubner tune",
        description=(
            "Search for the best numbers of a recipe, by devel scores alone. The same command goes "
            "on, and runs beside itself on one study."
        ),
    )
    if not settings.corpus:
        raise SettingsError("--corpus is missing; name one or several, such as ncbi-disease,bc5cdr")
    if len(set(settings.corpus)) != len(settings.corpus):
        raise SettingsError(f"--corpus names a corpus twice: {', '.join(settings.corpus)}")
    recipe_of(settings)
    encoder_folder(settings.encoder)
    root = corpora_root(settings.data, os.environ)
    require_corpora(root, settings.corpus, (Split.TRAIN, Split.DEVEL))
    with show_loading():
        from training.tune_command import tune

    return tune(settings)


def recipe_of(settings: TuneSettings) -> Recipe:
    """Return the recipe that the search begins from.

    :raises SettingsError: if there is no such recipe, or a search cannot use it.
    """
    recipe = find_recipe(
        settings.recipe,
        epochs=settings.epochs,
        max_sentences=settings.max_sentences,
        max_pieces=settings.max_pieces,
        seed=settings.seed,
    )
    if recipe.learns_from_teachers:
        raise SettingsError(
            f"--recipe {settings.recipe!r} learns from teachers, which a search has none of; "
            "take one without distil_weight and pseudo_weight"
        )
    return recipe
