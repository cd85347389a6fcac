"""Settings of `pubner dead-letters list`, `show` and `replay`."""

from datetime import UTC, datetime
from typing import Literal

from pydantic import Field, field_validator, model_validator

from pipelines.dead_letters.selection import Selection, parse_position
from pipelines.settings.annotate import CheckpointSettings
from pipelines.settings.kafka import KafkaSettings
from schemas.records import SourcePosition
from worker.cli.command import Settings
from worker.cli.common_options import ComputeOptions, json_option
from worker.cli.paths import ExistingOutput, output_to_read


class FilterSettings(Settings):
    """The output that holds the dead letters, and the criteria that select some."""

    output: ExistingOutput = Field(
        description="the folder, or URL of an object store, that holds the dead letters"
    )
    source: tuple[str, ...] = Field(
        (), description="only those of these topics or files (base names)"
    )
    stage: tuple[Literal["read", "parse", "annotate", "write"], ...] = Field(
        (), description="only those of these stages: read, parse, annotate, write"
    )
    error_type: tuple[str, ...] = Field(
        (), description="only those with these error types, such as RecordError"
    )
    position: tuple[str, ...] = Field(
        (), description="only those at these positions, as SOURCE/PARTITION/OFFSET"
    )
    since: datetime | None = Field(
        None,
        description="only those seen since this time, such as 2026-01-31 or "
        "2026-01-31T12:00:00; in UTC unless it has an offset",
    )

    @field_validator("position")
    @classmethod
    def _check_position(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for text in value:
            parse_position(text)
        return value

    @field_validator("since")
    @classmethod
    def _in_utc(cls, value: datetime | None) -> datetime | None:
        return value.replace(tzinfo=UTC) if value is not None and value.tzinfo is None else value

    @property
    def selection(self) -> Selection:
        """The selection of dead letters."""
        return Selection(
            sources=frozenset(self.source),
            stages=frozenset(self.stage),
            error_types=frozenset(self.error_type),
            positions=frozenset(parse_position(text) for text in self.position),
            since=self.since,
        )


class ListSettings(FilterSettings):
    """The dead letters to list, and the JSON file to write."""

    limit: int = Field(50, ge=1, description="show at most so many, the newest first")
    json_file: str | None = json_option("the list")


class ShowSettings(Settings):
    """The dead letter to show."""

    letter: tuple[str, ...] = Field(
        description="the output that holds it, and its SOURCE/PARTITION/OFFSET"
    )
    raw: bool = Field(False, description="write only its payload to standard output")

    @field_validator("letter")
    @classmethod
    def _check_letter(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len(value) != 2:
            raise ValueError("expected an OUTPUT and a SOURCE/PARTITION/OFFSET")
        output_to_read(value[0])
        parse_position(value[1])
        return value

    @property
    def output(self) -> str:
        """The output that holds the dead letter."""
        return self.letter[0]

    @property
    def position(self) -> SourcePosition:
        """The position of the dead letter."""
        return parse_position(self.letter[1])


class ReplaySettings(CheckpointSettings, FilterSettings, KafkaSettings, ComputeOptions):
    """The dead letters to replay, and the target: a topic or the pipeline."""

    topic: str | None = Field(
        None, min_length=1, description="the topic to send them to, which must exist"
    )
    pipeline: bool = Field(
        False, description="annotate them here instead, each at its own position in the output"
    )
    brokers: tuple[str, ...] = Field(
        (), description="Kafka bootstrap brokers, as HOST:PORT; with --topic"
    )
    checkpoint: tuple[str, ...] = Field(
        ("default",),
        min_length=1,
        description="checkpoint folders, for --pipeline; for files, those that the output was "
        "made with",
    )
    limit: int | None = Field(None, ge=1, description="at most so many, the newest")
    again: bool = Field(False, description="include those that were sent to a topic before")
    json_file: str | None = json_option("the summary")

    @model_validator(mode="after")
    def _check_target(self) -> "ReplaySettings":
        if (self.topic is not None) == self.pipeline:
            raise ValueError("give --topic NAME or --pipeline, one of the two")
        if self.topic is not None and not self.brokers:
            raise ValueError("--topic needs --brokers")
        return self
