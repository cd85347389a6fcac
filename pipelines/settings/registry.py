"""Settings of the commands on a checkpoint registry."""

from typing import Annotated

from pydantic import AfterValidator, Field

from worker.cli.command import Settings
from worker.cli.common_options import REGISTRY, WhoOptions, json_option, reason
from worker.cli.paths import ExistingFolder, OutputFolder


class _RegistrySettings(Settings):
    """The registry, which must exist."""

    registry: ExistingFolder = Field(description=REGISTRY)


class PublishSettings(WhoOptions):
    """The checkpoint to publish, and the registry."""

    registry: OutputFolder = Field(description=REGISTRY)
    checkpoint: str = Field(description="a checkpoint's folder, or `default` for the shipped one")


class ListSettings(_RegistrySettings):
    """The registry to list, and the JSON file to write."""

    json_file: str | None = json_option("the list")


class HistorySettings(_RegistrySettings):
    """The registry whose history to show, and the JSON file to write."""

    json_file: str | None = json_option("the history")


class VerifySettings(Settings):
    """The checkpoint to verify."""

    checkpoint: str = Field(
        description="a folder, `default`, or with --registry a prefix of an id or `active`"
    )
    registry: ExistingFolder | None = Field(None, description=REGISTRY)


class ShowSettings(VerifySettings):
    """The checkpoint to show, and the JSON file to write."""

    json_file: str | None = json_option("all of it")


class RollbackSettings(_RegistrySettings, WhoOptions):
    """The registry to roll back, the target and the reason."""

    why: Annotated[str, AfterValidator(reason)] = Field(
        description="the reason, recorded in the history"
    )
    to: str | None = Field(
        None,
        min_length=1,
        description="an id that was active before, or a prefix of it (default: the previously "
        "active one)",
    )
