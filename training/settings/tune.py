"""`pubner tune`: its options, validated before heavy imports."""

from pydantic import Field

from schemas.errors import SettingsError
from training.recipes.recipe import Recipe, find_recipe
from training.settings.train import RecipeOptions
from training.tuning.names import BEST_FILE, PRUNERS, STUDY_FILE
from worker.cli.common_options import json_option
from worker.cli.paths import OutputPath


class TuneSettings(RecipeOptions):
    """Options of `pubner tune`."""

    output: OutputPath = Field(description=f"folder for {STUDY_FILE}, {BEST_FILE} and the plots")
    trials: int = Field(20, ge=1, description="trials of the whole study, earlier ones included")
    tune: tuple[str, ...] = Field(
        (), description="what to change: NAME or NAME=LOW:HIGH,...; default: all dimensions"
    )
    pruner: str = Field("median", description=f"ends weak trials early: {', '.join(PRUNERS)}")
    startup_trials: int = Field(6, ge=1, description="random trials before TPE starts")
    epochs: int | None = Field(None, description="fixed number of epochs for every trial")
    seed: int | None = Field(None, description="seed of the search and of every training")
    json_file: str | None = json_option("the trials")


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
