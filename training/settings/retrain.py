"""The options of `pubner retrain`."""

from typing import Annotated, Any

from pydantic import AfterValidator, Field

from training.gate.options import GateSettings
from training.recipes.recipe import RECIPES
from worker.cli.common_options import REGISTRY, WhoOptions, json_option, reason
from worker.cli.paths import FilesToRead, OutputFolder, OutputPath

ACTIVE = "active"
"""The value of --encoder and --teacher that means the active checkpoint."""
_FROZEN = {
    "registry", "data", "corpus", "recipe", "set", "seed", "encoder", "teacher", "texts",
}  # fmt: skip


class RetrainSettings(GateSettings, WhoOptions):
    """The options of `pubner retrain`."""

    registry: OutputFolder = Field(description=REGISTRY)
    output: OutputPath = Field(
        description="the round's folder: an interrupted round resumes in it, a new one "
        "needs another"
    )
    corpus: tuple[str, ...] = Field(
        (), description="corpora to train on, one head each (default: the active checkpoint's)"
    )
    recipe: str | None = Field(
        None,
        description=f"{', '.join(RECIPES)}, or a JSON file with one (default: the active "
        "checkpoint's, or compact)",
        examples=list(RECIPES),
    )
    set: tuple[str, ...] = Field((), description="changes of the recipe, such as dropout=0.2")
    seed: int | None = Field(None, description="changes the recipe's seed")
    encoder: str | None = Field(
        None,
        description="what training starts from: active, minilm, a folder, a hub id or a "
        "checkpoint (default: active, or minilm without an active checkpoint)",
    )
    teacher: tuple[str, ...] = Field(
        (),
        description="checkpoints that give soft labels; active is allowed (default: "
        "active, if the recipe learns from teachers)",
    )
    texts: FilesToRead = Field(
        (), description="JSONL files of titles and abstracts without gold, labelled by the teachers"
    )
    promote: bool = Field(False, description="make the checkpoint active if the gate passes it")
    why: Annotated[str | None, AfterValidator(reason)] = Field(
        None,
        min_length=1,
        description="reason recorded with the promotion (default: the round's folder and recipe)",
    )
    save_seconds: float = Field(300.0, ge=0, description="seconds between saved training states")
    restart: bool = Field(False, description="discard the round in the folder and start over")
    json_file: str | None = json_option("the result of the round")

    def frozen_options(self) -> dict[str, Any]:
        """Return the options that may not change within a round (frozen options), by name."""
        return self.model_dump(mode="json", include=_FROZEN)
