"""Watches a job on a Flink cluster, and reports its failures and missing slots.

Flink restarts a failing job, and lets a job wait for slots, forever and without a message to the
client that submitted it.
"""

import logging
import re
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from apache_beam.options.pipeline_options import PortableOptions

from pipelines.runners.flink import Failure, FlinkCluster, FlinkJob, Slots
from pipelines.runners.options import RunnerChoice
from pipelines.runners.reasons import last_meaningful_line
from pipelines.telemetry.logs import LOGGER, log
from schemas.errors import RunnerError

_POLL_SECONDS = 2.0
_FAILING_SECONDS = 60.0
_WAITING_SECONDS = 120.0
_MOST_FAILURES = 3
_AGAIN_SECONDS = 60.0
_SHORT_WAIT_SECONDS = 3.0
_OTHER_VERSION = re.compile(
    r"No module named '(?:pipelines|worker|schemas)\b"
    r"|Can't get attribute '\w+' on <module '(?:pipelines|worker|schemas)\b"
)
"""Python's errors for pickled state whose classes have been moved or renamed."""


@dataclass(slots=True)
class JobWatch:
    """The failures of a job and its waits for slots, and whether the job is hopeless.

    A job without progress is hopeless if it fails with the same error for `failing_seconds`, at
    least three times, or waits for slots for `waiting_seconds`. `pool` is the address of the worker
    pool; `warn` shows a line.
    """

    warn: Callable[[str], None]
    pool: str = "--environment_config"
    failing_seconds: float = _FAILING_SECONDS
    waiting_seconds: float = _WAITING_SECONDS
    _job: str = field(default="", init=False)
    _ran: bool = field(default=False, init=False)
    _failed_at: int = field(default=0, init=False)
    _reason: str = field(default="", init=False)
    _count: int = field(default=0, init=False)
    _first: float = field(default=0.0, init=False)
    _reported: dict[str, float] = field(default_factory=dict, init=False)
    _waits_since: float | None = field(default=None, init=False)

    def observe(
        self, job: FlinkJob, failure: Failure | None, slots: Slots, now: float, *, progressed: bool
    ) -> RunnerError | None:
        """Report new failures and waits; return an error if the job is hopeless.

        :param progressed: whether it has a completed checkpoint, so that Flink may keep retrying
        :param now: seconds of a monotonic clock
        """
        if job.id != self._job:
            self._job, self._ran, self._failed_at, self._count = job.id, False, 0, 0
            self._waits_since = None
        hopeless = self._check_failure(job, failure, now) if failure is not None else None
        return None if progressed else hopeless or self._check_slots(job, slots, now)

    def _check_failure(self, job: FlinkJob, failure: Failure, now: float) -> RunnerError | None:
        if failure.time == self._failed_at:
            return None
        self._failed_at = failure.time
        if _OTHER_VERSION.search(failure.trace):
            return RunnerError(
                f"the Flink job {job.id} was cancelled: the savepoint or checkpoint that it was "
                "started from was written by another version of pubner, and its state names parts "
                "of the code that are not here; start the stream without it: it continues from the "
                "consumer group's offsets, so nothing is lost or written twice"
            )
        reason = failure_text(failure.trace, self.pool)
        if reason != self._reason or not self._count:
            self._reason, self._count, self._first = reason, 0, now
        self._count += 1
        if now - self._reported.get(reason, -_AGAIN_SECONDS) >= _AGAIN_SECONDS:
            self._reported = {reason: now}
            self.warn(f"Flink job {job.id} failed and is restarted by Flink: {reason}")
        if self._count < _MOST_FAILURES or now - self._first < self.failing_seconds:
            return None
        return RunnerError(
            f"the Flink job {job.id} fails again and again, {self._count} times in "
            f"{now - self._first:.0f} s, and was cancelled: {reason}"
        )

    def _check_slots(self, job: FlinkJob, slots: Slots, now: float) -> RunnerError | None:
        if not job.waiting_tasks or self._ran:
            self._waits_since = None
            self._ran = self._ran or (job.state == "RUNNING" and not job.waiting_tasks)
            return None
        if self._waits_since is None:
            self._waits_since = now
        waits = now - self._waits_since
        found = (
            f"{job.waiting_tasks} tasks wait for a slot, and {slots.free} of the cluster's "
            f"{slots.total} are free ({slots.taskmanagers} TaskManagers)"
        )
        if waits >= self.waiting_seconds:
            return RunnerError(
                f"the Flink job {job.id} was cancelled, since after {waits:.0f} s {found}; start "
                "TaskManagers, end other jobs, or give a lower --parallelism"
            )
        if waits >= _SHORT_WAIT_SECONDS and "slots" not in self._reported:
            self._reported["slots"] = now
            self.warn(f"Flink job {job.id} does not run yet: {found}")
        return None


def failure_text(trace: str, pool: str) -> str:
    """Return why a job failed, from its stack trace; `pool` is the address of its worker pool.

    Errors of Python are returned unchanged.
    """
    reason = last_meaningful_line(trace)
    if "ExternalEnvironmentFactory.createEnvironment" in trace and "UNAVAILABLE" in trace:
        return (
            f"the worker pool at {pool} (--environment_config) cannot be reached from the "
            f"TaskManager ({reason}); check that it runs there, and its log"
        )
    return reason or "no reason given"


@dataclass(slots=True)
class ClusterWatch:
    """The result of watching a job: the error that ended it, if it was hopeless."""

    error: RunnerError | None = None


@contextmanager
def watching_cluster(choice: RunnerChoice, clock: Callable[[], float]) -> Iterator[ClusterWatch]:
    """Watch the job of `choice` in a thread while the block runs, if it runs on a Flink cluster.

    A hopeless job is cancelled.
    """
    found = ClusterWatch()
    if choice.flink_rest is None:
        yield found
        return
    options = choice.options.view_as(PortableOptions)
    most = float(options.job_server_timeout)
    watch = JobWatch(
        warn,
        pool=str(options.environment_config),
        failing_seconds=min(_FAILING_SECONDS, most),
        waiting_seconds=min(_WAITING_SECONDS, most),
    )
    cluster, ended = FlinkCluster(choice.flink_rest), threading.Event()

    def follow() -> None:
        while not ended.wait(_POLL_SECONDS):
            try:
                if _check(cluster, choice.job_name, watch, found, clock()):
                    return
            except RunnerError:
                continue  # the poll of the job's state reports that the cluster does not answer

    thread = threading.Thread(target=follow, name="pubner-cluster-watch", daemon=True)
    thread.start()
    try:
        yield found
    finally:
        ended.set()


def _check(
    cluster: FlinkCluster, name: str, watch: JobWatch, found: ClusterWatch, now: float
) -> bool:
    """Check the job once; return whether it was hopeless, and is being cancelled."""
    job = cluster.newest_job(name)
    if job is None or job.has_ended:
        return False
    progressed = cluster.completed_checkpoints(job.id) > 0
    error = watch.observe(job, cluster.failure(job.id), cluster.slots(), now, progressed=progressed)
    if error is None:
        return False
    found.error = error
    cluster.request_cancel(job.id)
    return True


def warn(line: str) -> None:
    """Log a warning; if the command has no log, write it to standard error."""
    if logging.getLogger(LOGGER).isEnabledFor(logging.WARNING):
        log(line, level=logging.WARNING)
    else:
        sys.stderr.write(f"pubner: {line}\n")
        sys.stderr.flush()
