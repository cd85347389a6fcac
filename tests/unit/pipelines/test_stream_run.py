"""What the command does when it is asked to end a stream that runs on a Flink cluster."""

import threading
from types import SimpleNamespace
from typing import Any

import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.runner import PipelineState

from pipelines import stream_run
from pipelines.stream_run import _Watch


class Cluster:
    """A cluster that lists the job `name` only when it is asked for it the third time."""

    def __init__(self, result: SimpleNamespace, *, listed: bool) -> None:
        self.result = result
        self.listed = listed
        self.asked: list[str] = []

    def find_job(self, name: str) -> str | None:
        self.asked.append(name)
        if len(self.asked) < 3:
            return None
        if not self.listed:
            self.result.state = PipelineState.FAILED
            return None
        return "j1"

    def stop_with_savepoint(self, job: str, *, timeout_seconds: float) -> str:
        self.result.state = PipelineState.DONE
        return f"file:/savepoints/{job}"


def asked_to_end(monkeypatch: pytest.MonkeyPatch, *, listed: bool) -> tuple[Cluster, str | None]:
    result: Any = SimpleNamespace(state=PipelineState.RUNNING)
    cluster = Cluster(result, listed=listed)
    monkeypatch.setattr(stream_run, "FlinkCluster", lambda _: cluster)
    monkeypatch.setattr(stream_run, "_LOOK_SECONDS", 0.01)
    options = PipelineOptions(["--job_name=stream-1"])
    choice = SimpleNamespace(flink_rest="http://localhost:1", options=options)
    asked = threading.Event()
    asked.set()
    jobs: Any = SimpleNamespace(choice=choice)
    return cluster, _Watch(jobs, result, asked).until_ended()


def test_a_job_that_the_cluster_does_not_list_yet_is_stopped_once_it_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cluster, savepoint = asked_to_end(monkeypatch, listed=True)
    assert savepoint == "file:/savepoints/j1"
    assert cluster.asked == ["stream-1"] * 3


def test_a_job_that_fails_before_the_cluster_lists_it_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cluster, savepoint = asked_to_end(monkeypatch, listed=False)
    assert savepoint is None
    assert len(cluster.asked) == 3
