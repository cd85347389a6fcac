"""Detects a stalled Flink job, and decides on a remedy.

A Flink job does not fail when a worker dies during its start: Beam's runner waits for it forever
(`ExternalEnvironmentFactory`), or for minutes (`GrpcDataService`), and the job stays RUNNING. So
does a job whose worker is suspended, or loses its connection to the TaskManager.
"""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field

from kafka import TopicPartition

_BASE_SECONDS = 60.0
_START_SECONDS = 60.0
"""The time that the workers of a new job may need to start and to load the model."""
_SLOWEST_RATE = 20.0
"""Citations a second: the rate assumed for the time that a slice of a block may take."""
_MOST_FRUITLESS = 3


class Remedy(enum.Enum):
    """The remedy for a stalled job."""

    NONE = "none"
    CHECKPOINT = "restart from the last checkpoint"
    OFFSETS = "restart from the group's offsets"
    GIVE_UP = "give up"


@dataclass(frozen=True, slots=True)
class JobProgress:
    """The observed progress of a job: committed offsets, end offsets, and the job's state.

    `checkpoints` counts the completed ones; `failure` is the time of the last failure; `waits`
    means that the job waits for slots. Flink itself handles failures and missing slots by retrying.
    """

    committed: Mapping[TopicPartition, int]
    ends: Mapping[TopicPartition, int]
    job: str
    checkpoints: int
    failure: int
    waits: bool = False

    @property
    def lag(self) -> int:
        """The number of offsets still to be read."""
        return sum(max(0, self.ends[x] - offset) for x, offset in self.committed.items())


def default_patience(*, flush_seconds: float, checkpoint_seconds: float, block_size: int) -> float:
    """Return how many seconds a healthy job may need between two signs of progress.

    A slice stays open for `flush_seconds`, is annotated and written as a whole, and may be
    committed only by the second checkpoint after that.
    """
    slice_seconds = block_size / _SLOWEST_RATE
    return _BASE_SECONDS + flush_seconds + 2 * checkpoint_seconds + slice_seconds


@dataclass(slots=True)
class StallWatch:
    """A detector of stalls, which is given an observation of a job at each poll.

    A job is stalled if it made no progress (a commit or a completed checkpoint) for
    `patience_seconds` although there were messages to read. Until its first progress it has a
    minute more, since its workers load the model first. The patience is doubled after each restart
    without progress. The first restart is from the last checkpoint, later ones are from the group's
    offsets, since the state may be the cause; after three without progress it gives up.
    """

    patience_seconds: float
    restarts: int = field(default=0, init=False)
    _fruitless: int = field(default=0, init=False)
    _last: JobProgress | None = field(default=None, init=False)
    _since: float = field(default=0.0, init=False)
    _young: bool = field(default=True, init=False)

    def observe(self, progress: JobProgress, now: float) -> Remedy:
        """Return the remedy; `now` is in seconds of a monotonic clock."""
        last, self._last = self._last, progress
        if last is None or self._made_progress(last, progress) or _has_other_cause(last, progress):
            self._since = now
        if self.seconds(now) < self._patience():
            return Remedy.NONE
        if self._fruitless >= _MOST_FRUITLESS:
            return Remedy.GIVE_UP
        return Remedy.CHECKPOINT if self._fruitless == 0 else Remedy.OFFSETS

    def seconds(self, now: float) -> float:
        """Return the seconds without progress."""
        return now - self._since

    def reset(self, now: float) -> None:
        """Restart the clock, because the broker or the cluster did not answer."""
        self._since = now

    def restarted(self, now: float) -> None:
        """Record that the job was restarted."""
        self.restarts += 1
        self._fruitless += 1
        self._young = True
        self._last = None
        self._since = now

    def _patience(self) -> float:
        start = _START_SECONDS if self._young else 0.0
        return float((self.patience_seconds + start) * 2**self._fruitless)

    def _made_progress(self, last: JobProgress, progress: JobProgress) -> bool:
        """Whether there was progress since the last poll; if so, reset the count of restarts."""
        committed = any(
            offset > last.committed.get(partition, offset)
            for partition, offset in progress.committed.items()
        )
        checkpointed = progress.job == last.job and progress.checkpoints > last.checkpoints
        if committed or checkpointed:
            self._fruitless, self._young = 0, False
        return committed or checkpointed


def _has_other_cause(last: JobProgress, progress: JobProgress) -> bool:
    """Whether there is another cause for no progress: no messages, no slots, or a failure."""
    restarted = (progress.job, progress.failure) != (last.job, last.failure)
    return progress.lag == 0 or progress.waits or restarted
