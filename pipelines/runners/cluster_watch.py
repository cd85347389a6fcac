"""Follows a job on a Flink cluster, and tells in words what Flink keeps to itself.

Flink restarts a job that fails, and lets one wait for slots, without an end and without a word to
who submitted it.
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
from pipelines.runners.reasons import last_words
from pipelines.telemetry.logs import LOGGER, log
from schemas.errors import RunnerError

_LOOK_SECONDS = 2.0
_FAILING_SECONDS = 60.0
_WAITING_SECONDS = 120.0
_MOST_FAILURES = 3
_AGAIN_SECONDS = 60.0
_SHORT_WAIT_SECONDS = 3.0
_OTHER_VERSION = re.compile(
    r"No module named '(?:pipelines|worker|schemas)\b"
    r"|Can't get attribute '\w+' on <module '(?:pipelines|worker|schemas)\b"
)
"""What Python says of pickled state whose classes lay elsewhere."""


@dataclass(slots=True)
class JobWatch:
    """Tells of the failures of a job and of what it waits for; decides when it is hopeless.

    It is where a job that has done nothing yet fails in the same way for `failing_seconds`, three
    times at least, or waits for slots for `waiting_seconds`. `pool` is the address of the worker
    pool; `tell` shows a line.
    """

    tell: Callable[[str], None]
    pool: str = "--environment_config"
    failing_seconds: float = _FAILING_SECONDS
    waiting_seconds: float = _WAITING_SECONDS
    _job: str = field(default="", init=False)
    _ran: bool = field(default=False, init=False)
    _failed_at: int = field(default=0, init=False)
    _words: str = field(default="", init=False)
    _count: int = field(default=0, init=False)
    _first: float = field(default=0.0, init=False)
    _told: dict[str, float] = field(default_factory=dict, init=False)
    _waits_since: float | None = field(default=None, init=False)

    def look(
        self, job: FlinkJob, failure: Failure | None, slots: Slots, now: float, *, goes_on: bool
    ) -> RunnerError | None:
        """Tell what is new; return the error of a job that is hopeless.

        :param goes_on: whether it has a complete checkpoint, so that Flink may go on trying
        :param now: seconds of a clock that never goes back
        """
        if job.id != self._job:
            self._job, self._ran, self._failed_at, self._count = job.id, False, 0, 0
            self._waits_since = None
        hopeless = self._look_at_failure(job, failure, now) if failure is not None else None
        return None if goes_on else hopeless or self._look_at_slots(job, slots, now)

    def _look_at_failure(self, job: FlinkJob, failure: Failure, now: float) -> RunnerError | None:
        if failure.time == self._failed_at:
            return None
        self._failed_at = failure.time
        if _OTHER_VERSION.search(failure.trace):
            return RunnerError(
                f"the Flink job {job.id} was cancelled: the savepoint or checkpoint that it was "
                "started from was written by another version of pubner, and its state names parts "
                "of the code that are not here; start the stream without it: it goes on from the "
                "consumer group's offsets, so nothing is lost or written twice"
            )
        words = failure_words(failure.trace, self.pool)
        if words != self._words or not self._count:
            self._words, self._count, self._first = words, 0, now
        self._count += 1
        if now - self._told.get(words, -_AGAIN_SECONDS) >= _AGAIN_SECONDS:
            self._told = {words: now}
            self.tell(f"Flink job {job.id} failed and is restarted by Flink: {words}")
        if self._count < _MOST_FAILURES or now - self._first < self.failing_seconds:
            return None
        return RunnerError(
            f"the Flink job {job.id} fails again and again, {self._count} times in "
            f"{now - self._first:.0f} s, and was cancelled: {words}"
        )

    def _look_at_slots(self, job: FlinkJob, slots: Slots, now: float) -> RunnerError | None:
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
        if waits >= _SHORT_WAIT_SECONDS and "slots" not in self._told:
            self._told["slots"] = now
            self.tell(f"Flink job {job.id} does not run yet: {found}")
        return None


def failure_words(trace: str, pool: str) -> str:
    """Return in words why a job failed, by the stack trace; `pool` is where its workers come from.

    Python's own errors are said as they are.
    """
    words = last_words(trace)
    if "ExternalEnvironmentFactory.createEnvironment" in trace and "UNAVAILABLE" in trace:
        return (
            f"the worker pool at {pool} (--environment_config) cannot be reached from the "
            f"TaskManager ({words}); see that it runs there, and its log"
        )
    return words or "no reason given"


@dataclass(slots=True)
class ClusterWatch:
    """What was found of a job that was followed: the error that ended it, if it was hopeless."""

    error: RunnerError | None = None


@contextmanager
def watching_cluster(choice: RunnerChoice, clock: Callable[[], float]) -> Iterator[ClusterWatch]:
    """Follow the job of `choice` in a thread until the block ends, where it runs on a cluster.

    A job that is hopeless is cancelled.
    """
    found = ClusterWatch()
    if choice.flink_rest is None:
        yield found
        return
    options = choice.options.view_as(PortableOptions)
    most = float(options.job_server_timeout)
    watch = JobWatch(
        tell,
        pool=str(options.environment_config),
        failing_seconds=min(_FAILING_SECONDS, most),
        waiting_seconds=min(_WAITING_SECONDS, most),
    )
    cluster, ended = FlinkCluster(choice.flink_rest), threading.Event()

    def follow() -> None:
        while not ended.wait(_LOOK_SECONDS):
            try:
                if _look(cluster, choice.job_name, watch, found, clock()):
                    return
            except RunnerError:
                continue  # who asks for the job's state is told that the cluster does not answer

    thread = threading.Thread(target=follow, name="pubner-cluster-watch", daemon=True)
    thread.start()
    try:
        yield found
    finally:
        ended.set()


def _look(
    cluster: FlinkCluster, name: str, watch: JobWatch, found: ClusterWatch, now: float
) -> bool:
    """Look at the job once; return whether it was hopeless, and is being cancelled."""
    job = cluster.newest_job(name)
    if job is None or job.has_ended:
        return False
    goes_on = cluster.completed_checkpoints(job.id) > 0
    error = watch.look(job, cluster.failure(job.id), cluster.slots(), now, goes_on=goes_on)
    if error is None:
        return False
    found.error = error
    cluster.request_cancel(job.id)
    return True


def tell(line: str) -> None:
    """Log a warning, or where a command shows no log, write it to standard error."""
    if logging.getLogger(LOGGER).isEnabledFor(logging.WARNING):
        log(line, level=logging.WARNING)
    else:
        sys.stderr.write(f"pubner: {line}\n")
        sys.stderr.flush()
