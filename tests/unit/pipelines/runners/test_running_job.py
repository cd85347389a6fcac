"""A submitted job whose job server goes away, or never takes it."""

import threading
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.runners.runner import PipelineState

from pipelines.runners.options import RunnerChoice, choose_runner
from pipelines.runners.running_job import RunningJob, submit
from schemas.errors import RunnerError
from tests.support.flink_api import FlinkApi, flink_api


@pytest.fixture
def api() -> Iterator[FlinkApi]:
    """A server that answers as Flink's REST API does."""
    with flink_api() as found:
        yield found


class Gone:
    """What Beam returns of a job whose server has gone: every question is an error."""

    @property
    def state(self) -> str:
        raise ConnectionError("the server is gone")


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def choice(master: str = "[local]") -> RunnerChoice:
    words = ["--job_endpoint=127.0.0.1:9", f"--flink_master={master}", "--job_name=mine"]
    return choose_runner("FlinkRunner", words)


class Clock:
    """A clock that is moved by hand."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def silent(flink: RunnerChoice, clock: Clock) -> RunningJob:
    """Return a job whose server has been silent for longer than is waited for."""
    gone: Any = Gone()
    job = RunningJob(gone, flink, clock=clock)
    wait_for(lambda: bool(job.why))
    clock.now += 25.0
    return job


def test_the_job_server_tells_the_state() -> None:
    result: Any = SimpleNamespace(state=PipelineState.RUNNING)
    job = RunningJob(result, choice())
    wait_for(lambda: job.state() == PipelineState.RUNNING)
    assert not job.has_ended
    result.state = PipelineState.DONE
    wait_for(lambda: job.has_ended)


def test_without_it_the_cluster_does(api: FlinkApi) -> None:
    api.add_job("mine", "RUNNING", "j1")
    clock = Clock()
    job = silent(choice(api.address), clock)
    assert job.state() == PipelineState.RUNNING
    assert job.lost_server
    assert job.counters() == {}
    api.jobs.clear()
    api.add_job("mine", "FINISHED", "j1")
    clock.now += 5.0
    assert job.state() == PipelineState.RUNNING
    clock.now += 25.0
    assert job.state() == PipelineState.DONE
    assert job.wait() == PipelineState.DONE


def test_without_both_it_is_an_error(api: FlinkApi) -> None:
    with pytest.raises(RunnerError, match=r"127.0.0.1:9 does not answer any more .* knows no job"):
        silent(choice(api.address), Clock()).state()
    with pytest.raises(RunnerError, match=r"127.0.0.1:9 does not answer any more \(the server is"):
        silent(choice(), Clock()).state()
    with pytest.raises(RunnerError, match=r"does not answer any more.*--flink_master"):
        silent(choice("127.0.0.1:9"), Clock()).state()


class Pipeline:
    """A pipeline that is submitted once `taken` is set."""

    def __init__(self) -> None:
        self.taken = threading.Event()

    def run(self) -> Any:
        self.taken.wait()
        return SimpleNamespace(state=PipelineState.RUNNING)


def test_a_job_server_that_hangs_does_not_keep_the_command(api: FlinkApi) -> None:
    api.add_job("mine", "RUNNING", "j1")
    pipeline: Any = Pipeline()
    asked = threading.Event()
    threading.Timer(0.2, asked.set).start()
    assert submit(pipeline, choice(api.address), asked) is None
    assert ("PATCH", "/jobs/j1?mode=cancel") in api.asked
    pipeline.taken.set()


def test_a_job_that_is_taken_runs() -> None:
    pipeline: Any = Pipeline()
    pipeline.taken.set()
    job = submit(pipeline, choice(), threading.Event())
    assert job is not None
    wait_for(lambda: job.state() == PipelineState.RUNNING)


def test_a_refusal_is_raised() -> None:
    class Refused:
        def run(self) -> beam.Pipeline:
            raise ValueError("refused")

    pipeline: Any = Refused()
    with pytest.raises(ValueError, match="refused"):
        submit(pipeline, choice(), threading.Event())
