"""The settings of `pubner stream`."""

from typing import Literal

from pydantic import Field, field_validator

from pipelines.settings.annotate import RunSettings
from pipelines.settings.kafka import KafkaSettings
from worker.registry.choice import POLL_SECONDS


class StreamSettings(KafkaSettings, RunSettings):
    """Which topics to annotate, with what, and where to."""

    topic: tuple[str, ...] = Field(
        min_length=1, description="the topics to read, whose messages are citations or tombstones"
    )
    group: str = Field(
        min_length=1,
        description="the consumer group that is told how far all is in place, and where a run "
        "without a savepoint begins",
    )
    until_caught_up: bool = Field(
        default=False,
        description="read to the ends that the topics have now, put all in place, and end",
    )
    flush_seconds: float = Field(
        default=30.0, gt=0, le=3600, description="how long a message waits at most to be annotated"
    )
    registry_seconds: float = Field(
        default=POLL_SECONDS,
        gt=0,
        le=3600,
        description="each worker looks at most once in that time which checkpoint of --registry is "
        "active, and changes to it between two batches",
    )
    stall_seconds: float | None = Field(
        default=None,
        gt=0,
        description="how long a job on a Flink cluster may bring neither a commit nor a checkpoint "
        "while messages wait, until it is restarted from its last checkpoint; by default 90, and "
        "the time that a part of a block and two checkpoints may need",
    )
    isolation: Literal["read_committed", "read_uncommitted"] = Field(
        default="read_committed",
        description="whether messages of transactions that are open or were aborted are left out",
    )
    dead_letter_topic: str | None = Field(
        default=None, min_length=1, description="a topic that dead letters are also sent to"
    )

    @field_validator("topic")
    @classmethod
    def _check_topic(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(value)) != len(value):
            raise ValueError("a topic is given twice")
        return value

    @property
    def read_committed(self) -> bool:
        """Whether only what was committed is read."""
        return self.isolation == "read_committed"
