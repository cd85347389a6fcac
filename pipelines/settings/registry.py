"""Settings of the commands on a checkpoint registry."""

from pydantic import Field, field_validator

from worker.cli.command import Settings
from worker.cli.paths import ExistingFolder, OutputFolder

_REGISTRY = "the registry: a folder, or an s3://, gs:// or other URL"
_WHO = "name recorded in the history; by default USER@MACHINE"


class _RegistrySettings(Settings):
    """The registry, which must exist."""

    registry: ExistingFolder = Field(description=_REGISTRY)


class PublishSettings(Settings):
    """The checkpoint to publish, and the registry."""

    registry: OutputFolder = Field(description=_REGISTRY)
    checkpoint: str = Field(description="a checkpoint's folder, or `default` for the shipped one")
    who: str | None = Field(default=None, min_length=1, description=_WHO)


class ListSettings(_RegistrySettings):
    """The registry to list, and the JSON file to write."""

    json_file: str | None = Field(
        default=None, description="write the list as JSON; `-` is standard output"
    )


class HistorySettings(_RegistrySettings):
    """The registry whose history to show, and the JSON file to write."""

    json_file: str | None = Field(
        default=None, description="write the history as JSON; `-` is standard output"
    )


class VerifySettings(Settings):
    """The checkpoint to verify."""

    checkpoint: str = Field(
        description="a folder, `default`, or with --registry a prefix of an id or `active`"
    )
    registry: ExistingFolder | None = Field(default=None, description=_REGISTRY)


class ShowSettings(VerifySettings):
    """The checkpoint to show, and the JSON file to write."""

    json_file: str | None = Field(
        default=None, description="write all of it as JSON; `-` is standard output"
    )


class RollbackSettings(_RegistrySettings):
    """The registry to roll back, the target and the reason."""

    why: str = Field(description="the reason, recorded in the history")
    to: str | None = Field(
        default=None,
        min_length=1,
        description="an id that was active before, or a prefix of it (default: the previously "
        "active one)",
    )
    who: str | None = Field(default=None, min_length=1, description=_WHO)

    @field_validator("why")
    @classmethod
    def _check_why(cls, value: str) -> str:
        if not value.strip():
            raise ValueError("expected a reason")
        return value
