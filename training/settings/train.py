"""`pubner train stl` and `pubner train mtl`: their options, validated before heavy imports."""

from dataclasses import replace
from typing import Any

from pydantic import Field

from training.encoders.names import MINILM
from training.recipes.recipe import RECIPES, Recipe, changes_of, find_recipe
from worker.cli.command import Settings
from worker.cli.common_options import ComputeOptions, CorporaOptions, json_option
from worker.cli.paths import FilesToRead, OutputPath

STATE = ".training-state"


class RunOptions(Settings):
    """The saved states of a training run."""

    save_seconds: float = Field(300.0, ge=0, description="seconds between saved training states")
    restart: bool = Field(False, description="discard the content of the output folder")


class RecipeOptions(ComputeOptions, CorporaOptions):
    """What is trained, on which corpora, by which recipe."""

    corpus: tuple[str, ...] = Field((), description="corpora to train on, one head each")
    recipe: str = Field(
        "compact",
        description=f"{', '.join(RECIPES)}, or a JSON file with one",
        examples=list(RECIPES),
    )
    encoder: str = Field(
        MINILM, description="minilm, a folder, a hub id, or a checkpoint to continue from"
    )
    max_sentences: int | None = Field(None, description="changes the longest window's sentences")
    max_pieces: int | None = Field(None, description="changes the longest window's word pieces")


class TrainSettings(RecipeOptions, RunOptions):
    """Options of `pubner train`."""

    output: OutputPath = Field(
        description="folder for the checkpoint; an interrupted run resumes in it"
    )
    set: tuple[str, ...] = Field((), description="changes of the recipe, such as dropout=0.2")
    teacher: tuple[str, ...] = Field(
        (), description="checkpoints that give soft labels; several form an ensemble"
    )
    texts: FilesToRead = Field(
        (), description="JSONL files of titles and abstracts without gold, labelled by the teachers"
    )
    epochs: int | None = Field(None, description="changes the recipe's number of epochs")
    learning_rate: float | None = Field(None, description="changes the recipe's learning rate")
    batch_windows: int | None = Field(None, description="changes the recipe's windows per batch")
    seed: int | None = Field(None, description="changes the recipe's seed")
    calibrate: bool = Field(True, description="calibrate the scores on devel")
    json_file: str | None = json_option("devel scores and cost")


def recipe_of(settings: TrainSettings) -> Recipe:
    """Return the recipe with the changes of the options; --set is applied last."""
    changes: dict[str, Any] = {
        "epochs": settings.epochs,
        "learning_rate": settings.learning_rate,
        "batch_windows": settings.batch_windows,
        # A number of windows replaces the recipe's budget of word pieces.
        "batch_pieces": None if settings.batch_windows is None else 0,
        "max_sentences": settings.max_sentences,
        "max_pieces": settings.max_pieces,
        "seed": settings.seed,
    }
    recipe = find_recipe(settings.recipe, **changes)
    return replace(recipe, **changes_of(settings.set))
