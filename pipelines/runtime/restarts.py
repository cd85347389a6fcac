"""Restarts a stalled Flink job: cancels it, and submits it again from its last state."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from pipelines.graphs.stream_plan import Positions
from pipelines.runners.flink import FlinkCluster
from pipelines.runners.running_job import RunningJob
from pipelines.runtime.stall import JobProgress, Remedy, StallWatch
from pipelines.telemetry.logs import log
from schemas.errors import RunnerError

_RUNNING = "RUNNING"
_POLL_SECONDS = 1.0
_CANCEL_SECONDS = 30.0
"""Beam's runner waits a minute for each connection of a stopped worker; if there are free slots, a
new job need not wait for that, since a job that is being cancelled processes nothing more."""
_LONGEST_CANCEL_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class Restarter:
    """A supervisor of the job called `name`, which restarts it when it is stalled.

    `submit` submits the job again, from a checkpoint or (None) from the group's offsets; `check`
    raises if the servers for that do not answer.
    """

    cluster: FlinkCluster
    name: str
    watch: StallWatch
    check: Callable[[], None]
    submit: Callable[[str | None], RunningJob]
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep

    def restart_if_stalled(self, positions: Positions, now: float) -> RunningJob | None:
        """Return the new job if the job was stalled and is restarted, else None.

        :raises RunnerError: if repeated restarts bring no progress, or a restart fails.
        """
        try:
            job = self.cluster.newest_job(self.name)
            if job is None or job.state != _RUNNING:
                self.watch.reset(now)
                return None
            checkpoints = self.cluster.checkpoints(job.id)
            failure = self.cluster.failure(job.id)
        except RunnerError as error:
            log("the state of the job cannot be read", level=logging.WARNING, error=str(error))
            self.watch.reset(now)
            return None
        progress = JobProgress(
            committed=positions.begins,
            ends=positions.ends,
            job=job.id,
            checkpoints=checkpoints.completed,
            failure=failure.time if failure is not None else 0,
            waits=job.waiting_tasks > 0,
        )
        remedy = self.watch.observe(progress, now)
        if remedy is Remedy.NONE:
            return None
        if remedy is Remedy.GIVE_UP:
            raise RunnerError(
                f"the Flink job {job.id} is stalled: no commit and no checkpoint for "
                f"{self.watch.seconds(now):.0f} s although {progress.lag:,} messages wait, after "
                f"{self.watch.restarts} restarts; see the logs of its TaskManagers and of the "
                f"worker pool, and cancel it at {self.cluster.address}. What is committed stays, "
                "and the same command continues from the group's offsets"
            )
        try:
            self.check()
        except RunnerError as error:
            log(
                "the job is stalled and cannot be restarted yet",
                level=logging.WARNING,
                flink_job=job.id,
                error=str(error),
            )
            return None
        checkpoint = checkpoints.newest if remedy is Remedy.CHECKPOINT else None
        log(
            "the job is stalled, without a commit or checkpoint; it is cancelled and restarted",
            level=logging.WARNING,
            flink_job=job.id,
            seconds=round(self.watch.seconds(now)),
            lag=progress.lag,
            restarted_from=checkpoint or "the group's offsets",
            restart=self.watch.restarts + 1,
        )
        result = self._restart(job.id, checkpoint)
        self.watch.restarted(self.clock())
        return result

    def _restart(self, job: str, checkpoint: str | None) -> RunningJob:
        self._cancel(job)
        try:
            return self.submit(checkpoint)
        except RunnerError as error:
            again = f" with `-- --savepoint_path={checkpoint}`" if checkpoint is not None else ""
            raise RunnerError(
                f"the stalled Flink job {job} was cancelled and cannot be submitted again: {error}"
                f". Nothing is lost: run the same command again{again}"
            ) from error

    def _cancel(self, job: str) -> None:
        """Cancel the job; return when it has ended, or free slots allow another job."""
        begin = self.clock()
        self.cluster.request_cancel(job)
        while not self.cluster.has_ended(job):
            waited = self.clock() - begin
            if waited >= _CANCEL_SECONDS and self.cluster.slots().free > 0:
                log(
                    "the job is still being cancelled; continuing without waiting for it",
                    flink_job=job,
                )
                return
            if waited >= _LONGEST_CANCEL_SECONDS:
                raise RunnerError(
                    f"Flink did not cancel the stalled job {job} within {waited:.0f} s; restart "
                    f"the TaskManager on which it hangs (see {self.cluster.address}), then run the "
                    "same command again: it continues from the group's offsets"
                )
            self.sleep(_POLL_SECONDS)
