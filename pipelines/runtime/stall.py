"""When a job that runs is stalled, and what to do about it: decided from what the command can see.

On Flink nothing fails where a worker dies while it starts: Beam's runner waits for it without end
(`ExternalEnvironmentFactory`), or for minutes (`GrpcDataService`), and the job stands as RUNNING.
So does a job whose worker is stopped, or loses the way to its TaskManager.
"""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field

from kafka import TopicPartition

_BASE_SECONDS = 90.0
_SLOWEST_RATE = 20.0
"""Citations a second: a part of a block counts as under way for as long as that rate needs."""
_MOST_FRUITLESS = 3


class Remedy(enum.Enum):
    """What to do about a job."""

    NONE = "none"
    CHECKPOINT = "restart from the last checkpoint"
    OFFSETS = "restart from the group's offsets"
    GIVE_UP = "give up"


@dataclass(frozen=True, slots=True)
class Signs:
    """What tells whether a job goes on: committed offsets and ends of the partitions, and the job.

    `checkpoints` counts those that are complete; `failure` is when it failed last; `waits` says
    that it has no slots yet. Failures and slots are Flink's to deal with: it tries again itself.
    """

    committed: Mapping[TopicPartition, int]
    ends: Mapping[TopicPartition, int]
    job: str
    checkpoints: int
    failure: int
    waits: bool = False

    @property
    def lag(self) -> int:
        """How many offsets are to be read."""
        return sum(max(0, self.ends[x] - place) for x, place in self.committed.items())


def default_patience(*, flush_seconds: float, checkpoint_seconds: float, block_size: int) -> float:
    """Return for how long a job that is well may show nothing, in seconds.

    A part stays open for `flush_seconds`, is annotated and written whole, and the checkpoint that
    comes behind it may have to be the second one.
    """
    part = block_size / _SLOWEST_RATE
    return _BASE_SECONDS + flush_seconds + 2 * checkpoint_seconds + part


@dataclass(slots=True)
class StallWatch:
    """Decides from one look at a job after another whether it is stalled, and what is to be done.

    A job is stalled when it made no progress, a commit or a complete checkpoint, for
    `patience_seconds` although there was something to read. It is given twice that until its first
    progress, since its workers load the model first; and twice as long again after each restart
    that brought none. The first restart is from the last checkpoint, later ones from the group's
    offsets, since the fault may lie in the state; after three without progress it gives up.
    """

    patience_seconds: float
    restarts: int = field(default=0, init=False)
    _fruitless: int = field(default=0, init=False)
    _last: Signs | None = field(default=None, init=False)
    _since: float = field(default=0.0, init=False)
    _young: bool = field(default=True, init=False)

    def look(self, signs: Signs, now: float) -> Remedy:
        """Return what to do; `now` is in seconds of a clock that never goes back."""
        last, self._last = self._last, signs
        if last is None or self._goes_on(last, signs) or _excuses(last, signs):
            self._since = now
        if self.seconds(now) < self._patience():
            return Remedy.NONE
        if self._fruitless >= _MOST_FRUITLESS:
            return Remedy.GIVE_UP
        return Remedy.CHECKPOINT if self._fruitless == 0 else Remedy.OFFSETS

    def seconds(self, now: float) -> float:
        """Return for how long there was no progress."""
        return now - self._since

    def blind(self, now: float) -> None:
        """Take note that nothing could be seen: the broker or the cluster did not answer."""
        self._since = now

    def restarted(self, now: float) -> None:
        """Take note that the job was restarted."""
        self.restarts += 1
        self._fruitless += 1
        self._young = True
        self._last = None
        self._since = now

    def _patience(self) -> float:
        return float(self.patience_seconds * 2 ** (self._fruitless + self._young))

    def _goes_on(self, last: Signs, signs: Signs) -> bool:
        """Whether there was progress since the look before; it makes earlier restarts forgotten."""
        committed = any(
            place > last.committed.get(partition, place)
            for partition, place in signs.committed.items()
        )
        checkpointed = signs.job == last.job and signs.checkpoints > last.checkpoints
        if committed or checkpointed:
            self._fruitless, self._young = 0, False
        return committed or checkpointed


def _excuses(last: Signs, signs: Signs) -> bool:
    """Whether there is a reason that nothing came: no messages, no slots, or a failure."""
    restarted = (signs.job, signs.failure) != (last.job, last.failure)
    return signs.lag == 0 or signs.waits or restarted
