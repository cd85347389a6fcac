"""Settings of `pubner stream`."""

from typing import Literal

from pydantic import Field, field_validator

from pipelines.settings.annotate import RunSettings
from pipelines.settings.kafka import KafkaSettings
from worker.registry.choice import POLL_SECONDS


class StreamSettings(RunSettings, KafkaSettings):
    """The topics to annotate, the Kafka settings and the run settings."""

    topic: tuple[str, ...] = Field(
        min_length=1, description="the topics to read, whose messages are citations or tombstones"
    )
    group: str = Field(
        min_length=1,
        description="the consumer group whose offsets are committed after each write; a run "
        "without a savepoint begins at them",
    )
    until_caught_up: bool = Field(
        False, description="process up to the current end offsets, then exit"
    )
    flush_seconds: float = Field(
        30.0,
        gt=0,
        le=3600,
        description="maximum time in seconds that a message waits to be annotated",
    )
    registry_seconds: float = Field(
        POLL_SECONDS,
        gt=0,
        le=3600,
        description="each worker checks at most once in that time which checkpoint of --registry "
        "is active, and switches to it between two batches",
    )
    stall_seconds: float | None = Field(
        None,
        gt=0,
        description="how long a job on a Flink cluster may make neither a commit nor a checkpoint "
        "while messages wait, before it is restarted from its last checkpoint; by default 60 plus "
        "the time that a slice of a block and two checkpoints may need",
    )
    isolation: Literal["read_committed", "read_uncommitted"] = Field(
        "read_committed", description="whether to skip messages of open and aborted transactions"
    )
    dead_letter_topic: str | None = Field(
        None, min_length=1, description="a topic that dead letters are also sent to"
    )

    @field_validator("topic")
    @classmethod
    def _check_topic(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(value)) != len(value):
            raise ValueError("a topic is given twice")
        return value

    @property
    def read_committed(self) -> bool:
        """Whether only committed messages are read."""
        return self.isolation == "read_committed"
