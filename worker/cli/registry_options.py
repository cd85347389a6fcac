"""The options that say where a checkpoint's name is looked up, besides the folders here."""

from pathlib import Path

from pydantic import Field

from worker.cli.command import Settings
from worker.cli.paths import ExistingFolder


class RegistryOptions(Settings):
    """A registry in which a checkpoint may be named: by its id, the beginning of one, or active."""

    registry: ExistingFolder | None = Field(
        default=None,
        min_length=1,
        description="a checkpoint registry: a checkpoint may then be an id there, the beginning of "
        "one, or `active`",
    )
    checkpoint_cache: Path | None = Field(
        default=None,
        description="where checkpoints of a remote registry are kept; by default in the user's "
        "cache folder",
    )
