"""`pubner tune`: its options, validated before heavy imports."""

from pathlib import Path

from pydantic import Field

from schemas.errors import SettingsError
from training.encoders.names import MINILM
from training.recipes.recipe import RECIPES, Recipe, find_recipe
from training.tuning.names import BEST_FILE, PRUNERS, STUDY_FILE
from worker.cli.common_options import ComputeOptions
from worker.cli.paths import OutputPath


class TuneSettings(ComputeOptions):
    """Options of `pubner tune`."""

    corpus: tuple[str, ...] = Field((), description="corpora to train on, one head each")
    output: OutputPath = Field(description=f"folder for {STUDY_FILE}, {BEST_FILE} and the plots")
    data: Path | None = Field(None, description="folder of the corpora")
    recipe: str = Field(
        "compact", description="recipe that the search starts from", examples=list(RECIPES)
    )
    encoder: str = Field(
        MINILM, description="minilm, a folder, a hub id, or a checkpoint to continue from"
    )
    trials: int = Field(20, ge=1, description="trials of the whole study, earlier ones included")
    tune: tuple[str, ...] = Field(
        (), description="what to change: NAME or NAME=LOW:HIGH,...; default: all dimensions"
    )
    pruner: str = Field("median", description=f"ends weak trials early: {', '.join(PRUNERS)}")
    startup_trials: int = Field(6, ge=1, description="random trials before TPE starts")
    epochs: int | None = Field(None, description="fixed number of epochs for every trial")
    max_sentences: int | None = Field(None, description="changes the longest window's sentences")
    max_pieces: int | None = Field(None, description="changes the longest window's word pieces")
    seed: int | None = Field(None, description="seed of the search and of every training")
    json_file: str | None = Field(None, description="write the trials as JSON; - for stdout")


def recipe_of(settings: TuneSettings) -> Recipe:
    """Return the recipe that the search starts from.

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
            f"--recipe {settings.recipe!r} learns from teachers, which a search does not support; "
            "take one without distil_weight and pseudo_weight"
        )
    return recipe
