"""Settings of `pubner feed`."""

import re
from pathlib import Path

from pydantic import Field, field_validator, model_validator

from pipelines.settings.annotate import InputOptions
from pipelines.settings.kafka import KafkaSettings
from worker.cli.common_options import json_option
from worker.cli.paths import FileToWrite, OutputFolder

_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}")
STATE_NAME = "feed-state.json"


class FeedSettings(InputOptions, KafkaSettings):
    """The files to publish, and the topic."""

    topic: str = Field(description="the topic to send to")
    create_topic: bool = Field(False, description="create the topic unless it exists")
    partitions: int | None = Field(
        None, ge=1, le=100_000, description="number of partitions of a topic that is created"
    )
    replication: int | None = Field(
        None, ge=1, le=100, description="replication factor of a topic that is created"
    )
    dead_letters: OutputFolder | None = Field(
        None,
        description="the folder, or URL of an object store, for the Parquet data set of records "
        "that cannot be parsed or sent; by default TOPIC-feed-dead-letters",
    )
    state: FileToWrite | None = Field(
        None,
        description="the file with the progress of a run, kept until it ends; by default "
        f"{STATE_NAME} in the folder of dead letters",
    )
    again: bool = Field(
        False, description="send everything, including what an interrupted run has already sent"
    )
    json_file: str | None = json_option("the summary")

    @field_validator("topic")
    @classmethod
    def _check_topic(cls, value: str) -> str:
        if _TOPIC.fullmatch(value) is None or value in (".", ".."):
            raise ValueError(
                "expected a topic's name: at most 249 ASCII letters, digits, '.', '_' and '-'"
            )
        return value

    @model_validator(mode="after")
    def _check_creation(self) -> "FeedSettings":
        for name in ("partitions", "replication"):
            if getattr(self, name) is not None and not self.create_topic:
                raise ValueError(f"--{name} needs --create-topic")
        return self

    @property
    def dead_letter_root(self) -> str:
        """The folder or URL of the dead letters."""
        return self.dead_letters or f"{self.topic}-feed-dead-letters"

    @property
    def state_file(self) -> Path:
        """The local file of the run's state."""
        if self.state is not None:
            return Path(self.state)
        root = self.dead_letter_root
        if "://" in root and not root.startswith("file://"):
            return Path(f"{self.topic}-{STATE_NAME}")
        return Path(root.removeprefix("file://")) / STATE_NAME
