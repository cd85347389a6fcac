"""Watches the job of a stream: forwards a stop request, and has a stalled job restarted."""

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from kafka import TopicPartition

from pipelines.graphs.stream_plan import (
    Positions,
    find_topics,
)
from pipelines.kafka.access import consumer
from pipelines.kafka.commits import commit_metadata
from pipelines.kafka.errors import reporting
from pipelines.kafka.topics import committed_metadata
from pipelines.runners.cluster_check import check_cluster
from pipelines.runners.flink import FlinkCluster
from pipelines.runners.running_job import RunningJob, submit
from pipelines.runtime.left_behind import RemainingJob
from pipelines.runtime.restarts import Restarter
from pipelines.runtime.stall import StallWatch
from pipelines.runtime.stream_jobs import StreamJobs
from pipelines.runtime.stream_progress import StreamProgress
from pipelines.telemetry.logs import log
from pipelines.telemetry.run_channel import WorkerChannel
from schemas.errors import BrokerError, RunnerError

_POLL_SECONDS = 0.5
_SAVEPOINT_SECONDS = 600.0


@dataclass(slots=True)
class JobWatch:
    """The watch of a stream's job until it ends; `asked` is set when the run shall stop."""

    jobs: StreamJobs
    job: RunningJob
    asked: threading.Event
    remaining: RemainingJob = field(default_factory=RemainingJob)
    drained: bool = field(default=False, init=False)
    """Whether all offsets are committed and the drained job is only idling."""
    _ending: bool = field(default=False, init=False)
    _stall: StallWatch = field(init=False)
    _progress: StreamProgress = field(init=False)

    def __post_init__(self) -> None:
        self._stall = StallWatch(self.jobs.stall_seconds)
        self._progress = StreamProgress(self.jobs)

    @property
    def restarts(self) -> int:
        """How often a stalled job was restarted."""
        return self._stall.restarts

    def until_ended(self) -> str | None:
        """Wait for the end of the job; return the path of its savepoint, if there is one."""
        savepoint = None
        while not self.drained and not self.job.has_ended:
            if self.asked.wait(_POLL_SECONDS) and not self._ending:
                self._ending = True
                savepoint = self._end()
            elif self._ending:
                time.sleep(_POLL_SECONDS)
            if not self._ending:
                self._report()
        return savepoint

    def _end(self) -> str | None:
        address = self.jobs.choice.flink_rest
        if address is not None:
            cluster = FlinkCluster(address)
            job = self._find_job(cluster)
            if job is None:
                return None
            log("stopping with a savepoint", flink_job=job)
            self.remaining.flink_job = job
            return cluster.stop_with_savepoint(job, timeout_seconds=_SAVEPOINT_SECONDS)
        log("draining: messages already read are finished, no more are read")
        token = self.jobs.drain.request()
        if not self.jobs.choice.runner.ends_drained:
            self._wait_until_drained(commit_metadata(self.jobs.output_id, token))
        return None

    def _find_job(self, cluster: FlinkCluster) -> str | None:
        """Return the id of this run's job, once the cluster lists it; None if it ended before."""
        while (job := cluster.find_job(self.jobs.choice.job_name)) is None:
            if self.job.has_ended:
                return None
            time.sleep(_POLL_SECONDS)
        return job

    def _wait_until_drained(self, note: str) -> None:
        """Wait until the last offsets of all partitions are committed, or the job has ended."""
        while not self.job.has_ended:
            try:
                if all(found == note for found in self._notes().values()):
                    self.drained = True
                    return
            except BrokerError as error:
                log("the broker does not answer, trying again", error=str(error))
            time.sleep(_POLL_SECONDS)

    def _notes(self) -> Mapping[TopicPartition, str]:
        access, group = self.jobs.access, self.jobs.settings.group
        partitions = find_topics(access, self.jobs.settings.topic).partitions
        client = consumer(access, group=group)
        try:
            with reporting(access, f"read the offsets of group {group!r}"):
                return committed_metadata(client, partitions)
        finally:
            client.close()

    def _report(self) -> None:
        now = time.monotonic()
        if not self._progress.is_due(now):
            return
        positions = self._progress.report(now)
        if positions is None:
            self._stall.reset(now)
            return
        self._restart_if_stalled(positions, now)
        self._progress.report_checkpoint()

    def _restart_if_stalled(self, positions: Positions, now: float) -> None:
        address = self.jobs.choice.flink_rest
        if address is None:
            return
        restarter = Restarter(
            FlinkCluster(address),
            self.jobs.choice.job_name,
            self._stall,
            check=lambda: check_cluster(self.jobs.choice),
            submit=self._submit_again,
        )
        result = restarter.restart_if_stalled(positions, now)
        if result is not None:
            self.job = result

    def _submit_again(self, savepoint: str | None) -> RunningJob:
        """Submit the job again, with the state at `savepoint` or without any."""
        jobs = replace(self.jobs, choice=self.jobs.choice.resumed_from(savepoint))
        job = submit(jobs.unbounded(WorkerChannel()), jobs.choice, self.asked)
        if job is None:
            raise RunnerError("the run was asked to stop meanwhile.")
        return job
