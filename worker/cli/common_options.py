"""Options that several commands share, each declared once."""

from pathlib import Path
from typing import Any

from pydantic import Field

from worker.cli.devices import DeviceHere, DeviceName
from worker.cli.paths import ExistingFolder
from worker.cli.settings import Settings

_DEVICE = "where the model runs: auto, cpu, cuda or cuda:N"
_WHO = "name recorded in the history; by default USER@MACHINE"
REGISTRY = "the registry: a folder, or an s3://, gs:// or other URL"


def json_option(what: str) -> Any:  # noqa: ANN401 - as pydantic's own Field
    """Return the field of `--json`, which writes `what`."""
    return Field(None, description=f"write {what} as JSON; `-` is standard output")


def reason(value: str | None) -> str | None:
    """Check a reason, which must not be blank."""
    if value is not None and not value.strip():
        raise ValueError("expected a reason, got a blank one")
    return value


class ThreadOptions(Settings):
    """The threads of a command that computes."""

    threads: int | None = Field(
        None, ge=1, description="CPU threads of the model (default: the library's choice)"
    )


class ComputeOptions(ThreadOptions):
    """The device and the threads of a command that computes on this machine."""

    device: DeviceHere = Field("auto", description=_DEVICE)


class WorkerOptions(ThreadOptions):
    """The device and the threads of a command that may compute on other machines."""

    device: DeviceName = Field("auto", description=_DEVICE)


class CacheOptions(Settings):
    """The cache of checkpoints."""

    checkpoint_cache: Path | None = Field(
        None,
        description="the folder where checkpoints of a remote registry are cached; by default in "
        "the user's cache folder",
    )


class RegistryOptions(CacheOptions):
    """Registry options: a checkpoint may be given by its id, a prefix of it, or `active`."""

    registry: ExistingFolder | None = Field(
        None,
        min_length=1,
        description="a checkpoint registry: a checkpoint may then be given as an id in it, a "
        "prefix of one, or `active`",
    )


class WhoOptions(Settings):
    """Who changes a registry."""

    who: str | None = Field(None, min_length=1, description=_WHO)


class CorporaOptions(Settings):
    """The corpora on this machine."""

    data: Path | None = Field(
        None, description="folder of the corpora (default: PUBNER_CORPORA, else the fetch cache)"
    )
