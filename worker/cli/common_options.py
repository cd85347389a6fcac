"""Options that name the checkpoint registry in which a checkpoint's name is looked up."""

from pathlib import Path

from pydantic import Field

from worker.cli.command import Settings
from worker.cli.devices import DeviceHere
from worker.cli.paths import ExistingFolder


class RegistryOptions(Settings):
    """Registry options: a checkpoint may be given by its id, a prefix of it, or `active`."""

    registry: ExistingFolder | None = Field(
        default=None,
        min_length=1,
        description="a checkpoint registry: a checkpoint may then be given as an id in it, a "
        "prefix of one, or `active`",
    )
    checkpoint_cache: Path | None = Field(
        default=None,
        description="the folder where checkpoints of a remote registry are cached; by default in "
        "the user's cache folder",
    )


class ComputeOptions(Settings):
    """The device and the threads of a command that computes on this machine."""

    device: DeviceHere = Field(default="auto", description="auto, cpu, cuda or cuda:N")
    threads: int | None = Field(
        default=None, ge=1, description="CPU threads (default: the library's choice)"
    )
