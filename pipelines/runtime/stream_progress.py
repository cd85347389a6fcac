"""Reports the progress of a running stream: its lag, stalled partitions, and lasting errors."""

import logging
import time
from dataclasses import dataclass, field

from pipelines.graphs.stream_plan import (
    Positions,
    find_positions,
    find_topics,
)
from pipelines.kafka.topic_identity import check_same
from pipelines.kafka.topics import check_group_has_no_members
from pipelines.runtime.stalled_partitions import StalledPartitions
from pipelines.runtime.stream_jobs import StreamJobs
from pipelines.telemetry.logs import log
from schemas.errors import BrokerError, InputError, PubnerError
from worker.registry.registry import open_registry

_REPORT_SECONDS = 10.0
_STALLED_PARTITION_SECONDS = 300.0
"""Time without a commit, in addition to the flush time, after which a partition is stalled."""


@dataclass(slots=True)
class StreamProgress:
    """Observes the group's offsets every few seconds, and logs what it finds."""

    jobs: StreamJobs
    _stalled_partitions: StalledPartitions = field(init=False)
    _reported: float = field(default=0.0, init=False)
    _unknown_since: float = field(default_factory=time.monotonic, init=False)
    """When all topics were last found."""

    def __post_init__(self) -> None:
        patience = _STALLED_PARTITION_SECONDS + self.jobs.settings.flush_seconds
        self._stalled_partitions = StalledPartitions(patience)

    def is_due(self, now: float) -> bool:
        """Whether it is time for the next report; if so, the time until another one begins."""
        if now - self._reported < _REPORT_SECONDS:
            return False
        self._reported = now
        return True

    def report(self, now: float) -> Positions | None:
        """Log the lag and return the group's positions; None if the broker does not answer.

        :raises PubnerError: if the broker refuses access, a topic is missing for longer than the
            broker's timeout or was created again, or the group has other members.
        """
        settings = self.jobs.settings
        try:
            topics = find_topics(self.jobs.access, settings.topic)
            check_group_has_no_members(self.jobs.access, settings.group)
            positions = find_positions(
                self.jobs.access,
                settings.group,
                topics,
                block_size=1,
                read_committed=settings.read_committed,
            )
        except PubnerError as error:
            self._raise_lasting(error, now)
            log("the broker does not answer", error=str(error))
            return None
        self._unknown_since = now
        check_same(self.jobs.topics.digests, topics.digests)
        log("progress", lag=positions.lag, partitions=len(positions.begins))
        self.warn(positions, now)
        return positions

    def report_checkpoint(self) -> None:
        """Log which checkpoint the registry names as promoted, if the run follows one."""
        registered = self.jobs.checkpoints.registered
        if registered is not None:
            try:
                log("promoted checkpoint", id=open_registry(registered.registry).active().id)
            except PubnerError as error:
                log("the registry does not answer", error=str(error))

    def warn(self, positions: Positions, now: float) -> None:
        """Warn of the partitions that are stalled, and name the remedy."""
        for partition, seconds in self._stalled_partitions.observe(
            positions.begins, positions.ends, now
        ):
            offset = positions.begins[partition]
            log(
                "a partition is stalled; stop the run and start it without its savepoint: it "
                "continues from the group's offsets and loses nothing",
                level=logging.WARNING,
                topic=partition.topic,
                partition=partition.partition,
                offset=offset,
                lag=positions.ends[partition] - offset,
                seconds=round(seconds),
            )

    def _raise_lasting(self, error: PubnerError, now: float) -> None:
        """Raise an error that retries cannot fix; a broker may briefly not know a topic."""
        unknown = isinstance(error, InputError)
        self._unknown_since = self._unknown_since if unknown else now
        lasts = now - self._unknown_since > self.jobs.access.timeout_seconds
        if (isinstance(error, BrokerError) and error.permanent) or lasts:
            raise error
