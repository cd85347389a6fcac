"""The settings of the commands on a checkpoint registry."""

from pydantic import Field, field_validator

from worker.cli.command import Settings
from worker.cli.paths import ExistingFolder, OutputFolder

_REGISTRY = "the registry: a folder, or an s3://, gs:// or other URL"
_WHO = "who does it; by default the user's name @ this machine's"


class _RegistrySettings(Settings):
    """Which registry is meant, that must be there."""

    registry: ExistingFolder = Field(description=_REGISTRY)


class PublishSettings(Settings):
    """Which checkpoint to publish, and where to."""

    registry: OutputFolder = Field(description=_REGISTRY)
    checkpoint: str = Field(description="a checkpoint's folder, or `default` for the shipped one")
    who: str | None = Field(default=None, min_length=1, description=_WHO)


class ListSettings(_RegistrySettings):
    """Which registry to list, and where to."""

    json_file: str | None = Field(
        default=None, description="write the list as JSON; `-` is standard output"
    )


class HistorySettings(_RegistrySettings):
    """Which registry's history to show, and where to."""

    json_file: str | None = Field(
        default=None, description="write the history as JSON; `-` is standard output"
    )


class VerifySettings(Settings):
    """Which checkpoint to verify."""

    checkpoint: str = Field(
        description="a folder, `default`, or with --registry an id's beginning or `active`"
    )
    registry: ExistingFolder | None = Field(default=None, description=_REGISTRY)


class ShowSettings(VerifySettings):
    """Which checkpoint to show, and where to."""

    json_file: str | None = Field(
        default=None, description="write all of it as JSON; `-` is standard output"
    )


class RollbackSettings(_RegistrySettings):
    """Which registry to roll back, and why."""

    why: str = Field(description="the reason, which the history keeps")
    to: str | None = Field(
        default=None,
        min_length=1,
        description="an id that was active before, or the beginning of it (default: the one "
        "before this)",
    )
    who: str | None = Field(default=None, min_length=1, description=_WHO)

    @field_validator("why")
    @classmethod
    def _check_why(cls, value: str) -> str:
        if not value.strip():
            raise ValueError("expected a reason")
        return value
