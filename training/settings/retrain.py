"""The options of `pubner retrain`."""

from typing import Any

from pydantic import Field, field_validator

from training.gate.options import GateSettings
from training.recipes.recipe import RECIPES
from worker.cli.paths import FilesToRead, OutputFolder, OutputPath

ACTIVE = "active"
"""The value of --encoder and --teacher that means the active checkpoint."""


class RetrainSettings(GateSettings):
    """The options of `pubner retrain`."""

    registry: OutputFolder = Field(description="the registry: a folder, or an s3:// or gs:// URL")
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
    why: str | None = Field(
        None,
        min_length=1,
        description="reason recorded with the promotion (default: the round's folder and recipe)",
    )
    who: str | None = Field(
        None, min_length=1, description="name recorded with the promotion; by default USER@HOST"
    )
    save_seconds: float = Field(300.0, ge=0, description="seconds between saved training states")
    restart: bool = Field(False, description="discard the round in the folder and start over")
    json_file: str | None = Field(
        None, description="write the result of the round as JSON; - for stdout"
    )

    @field_validator("why")
    @classmethod
    def _not_blank(cls, value: str | None) -> str | None:
        if value is not None and not value.strip():
            raise ValueError("expected a reason")
        return value

    def frozen_options(self) -> dict[str, Any]:
        """Return the options that may not change within a round (frozen options), by name."""
        return {
            "registry": self.registry,
            "data": None if self.data is None else str(self.data),
            "corpus": list(self.corpus),
            "recipe": self.recipe,
            "set": list(self.set),
            "seed": self.seed,
            "encoder": self.encoder,
            "teacher": list(self.teacher),
            "texts": list(self.texts),
        }
