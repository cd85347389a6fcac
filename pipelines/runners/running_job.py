"""A submitted job and its state, even after its job server has gone away.

Beam polls the job server without a deadline, so a job server that hangs would hang the command; on
a cluster the job keeps running without it.
"""

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

import apache_beam as beam
from apache_beam.options.pipeline_options import PortableOptions
from apache_beam.runners.runner import PipelineResult, PipelineState

from pipelines.runners.cluster_watch import warn
from pipelines.runners.flink import FlinkCluster
from pipelines.runners.options import RunnerChoice
from pipelines.runners.reasons import reason
from pipelines.telemetry.logs import log
from schemas.errors import RunnerError

_POLL_SECONDS = 0.5
_PATIENCE_SECONDS = 10.0
_SUBMITTED_SECONDS = 5.0
_ENDED = {
    "FINISHED": PipelineState.DONE,
    "FAILED": PipelineState.FAILED,
    "CANCELED": PipelineState.CANCELLED,
}
"""The final states of a Flink job, mapped to Beam's."""


@dataclass(slots=True)
class RunningJob:
    """A submitted job; a thread polls its state from the job server until it has ended.

    If the job server has not answered for `patience_seconds`, Flink's REST API is polled.
    """

    result: PipelineResult
    choice: RunnerChoice
    patience_seconds: float = _PATIENCE_SECONDS
    clock: Callable[[], float] = time.monotonic
    lost_server: bool = field(default=False, init=False)
    _state: str = field(default=PipelineState.UNKNOWN, init=False)
    _answered: float = field(default=0.0, init=False)
    why: str = field(default="", init=False)

    def __post_init__(self) -> None:
        self._answered = self.clock()
        if self.choice.job_server is not None:
            threading.Thread(target=self._ask, name="pubner-job-state", daemon=True).start()

    def state(self) -> str:
        """Return the job's state, a `PipelineState`.

        :raises RunnerError: if neither job server nor cluster answers.
        """
        if self.choice.job_server is None:
            return str(self.result.state)
        silent = self.clock() - self._answered
        if PipelineState.is_terminal(self._state) or silent < self.patience_seconds:
            return self._state
        return self._state_on_cluster(silent)

    @property
    def has_ended(self) -> bool:
        """Whether the job has ended."""
        return bool(PipelineState.is_terminal(self.state()))

    def wait(self) -> str:
        """Wait for the end of the job; return its final state.

        :raises Exception: Beam's error for a job that failed.
        """
        while self.choice.job_server is not None and not self.has_ended:
            time.sleep(_POLL_SECONDS)
        if self.lost_server:
            return self.state()
        return str(self.result.wait_until_finish() or PipelineState.DONE)

    def cancel(self) -> None:
        """Cancel the job; on a cluster also through Flink, since Beam's cancel is not enough.

        Errors are not raised.
        """
        with suppress(Exception):
            self.result.cancel()
        _cancel_on_cluster(self.choice)

    def counters(self) -> dict[str, int]:
        """Return Beam's counters, summed over steps; empty if they are not available."""
        if self.lost_server:
            return {}
        try:
            found = self.result.metrics().query()["counters"]
        except Exception:  # the job server is gone, or has no metrics of a stopped job
            return {}
        sums: dict[str, int] = {}
        for counter in found:
            name = counter.key.metric.name
            sums[name] = sums.get(name, 0) + int(counter.result or 0)
        return sums

    def _state_on_cluster(self, silent: float) -> str:
        why = self.why or "it hangs"
        gone = f"the job server {self.choice.job_server} does not answer any more ({why})"
        address = self.choice.flink_rest
        if address is None:
            raise RunnerError(
                f"{gone}, and the job may have ended with it; what is written stays, and the same "
                "command continues from there"
            )
        try:
            job = FlinkCluster(address).newest_job(self.choice.job_name)
        except RunnerError as error:
            if silent < 2 * self.patience_seconds:
                return self._state
            raise RunnerError(f"{gone}. {error}") from error
        if job is None:
            raise RunnerError(
                f"{gone}, and the cluster at {address} knows no job {self.choice.job_name}; what "
                "is written stays, and the same command continues from there"
            )
        if not self.lost_server:
            self.lost_server = True
            warn(f"{gone}; job {job.id} goes on without it, monitored by Flink's REST API")
        self._state = _ENDED.get(job.state, PipelineState.RUNNING)
        self._answered = self.clock()
        return self._state

    def _ask(self) -> None:
        while not PipelineState.is_terminal(self._state):
            try:
                self._state = str(self.result.state)
                self._answered = self.clock()
            except Exception as error:  # of any kind: the job server did not answer
                self.why = reason(error)
            time.sleep(_POLL_SECONDS)


def submit(
    pipeline: beam.Pipeline, choice: RunnerChoice, asked: threading.Event
) -> RunningJob | None:
    """Submit a pipeline; return its job, or None if `asked` was set before it was accepted.

    A job server that hangs does not prevent the command from ending.

    :raises Exception: Beam's error for a job that is refused.
    """
    endpoint = choice.options.view_as(PortableOptions).job_endpoint
    if not endpoint or endpoint == "embed":
        # Servers that Beam starts itself are bound to the main thread.
        return RunningJob(pipeline.run(), choice)
    results: list[PipelineResult] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(pipeline.run())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, name="pubner-submit", daemon=True)
    thread.start()
    while thread.is_alive() and not asked.is_set():
        thread.join(_POLL_SECONDS)
    if asked.is_set():
        thread.join(_SUBMITTED_SECONDS)
    if errors:
        raise errors[0]
    if results:
        return RunningJob(results[0], choice)
    _take_back(choice)
    return None


def _cancel_on_cluster(choice: RunnerChoice) -> None:
    if choice.flink_rest is None:
        return
    cluster = FlinkCluster(choice.flink_rest)
    try:
        job = cluster.find_job(choice.job_name)
        if job is not None:
            cluster.request_cancel(job)
    except RunnerError as error:
        log("cannot check whether the cluster has the job", error=str(error))


def _take_back(choice: RunnerChoice) -> None:
    """Cancel a job that was being submitted, if the cluster has already accepted it."""
    _cancel_on_cluster(choice)
    log(
        "stopped before the job server had accepted the job; if it still does, cancel the job",
        level=logging.WARNING,
        job=choice.job_name,
    )
