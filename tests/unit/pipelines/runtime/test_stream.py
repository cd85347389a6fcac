"""What the command does while a stream runs, and when it is asked to end one on Flink."""

import json
import logging
import signal
import subprocess
import sys
import threading
from types import SimpleNamespace
from typing import Any

import pytest
from kafka import TopicPartition

from pipelines.graphs.stream_plan import Positions
from pipelines.runtime import stream_watch
from pipelines.runtime.left_behind import RemainingJob
from pipelines.runtime.stream_progress import StreamProgress
from pipelines.runtime.stream_watch import JobWatch

SETTINGS = SimpleNamespace(flush_seconds=20.0)


class Cluster:
    """A cluster that lists the job `name` only when it is asked for it the third time."""

    def __init__(self, ours: SimpleNamespace, *, listed: bool) -> None:
        self.ours = ours
        self.listed = listed
        self.asked: list[str] = []

    def find_job(self, name: str) -> str | None:
        self.asked.append(name)
        if len(self.asked) < 3:
            return None
        if not self.listed:
            self.ours.has_ended = True
            return None
        return "j1"

    def stop_with_savepoint(self, job: str, *, timeout_seconds: float) -> str:
        self.ours.has_ended = True
        return f"file:/savepoints/{job}"


def asked_to_end(monkeypatch: pytest.MonkeyPatch, *, listed: bool) -> tuple[Cluster, str | None]:
    job: Any = SimpleNamespace(has_ended=False)
    cluster = Cluster(job, listed=listed)
    monkeypatch.setattr(stream_watch, "FlinkCluster", lambda _: cluster)
    monkeypatch.setattr(stream_watch, "_POLL_SECONDS", 0.01)
    choice = SimpleNamespace(flink_rest="http://localhost:1", job_name="stream-1")
    asked = threading.Event()
    asked.set()
    jobs: Any = SimpleNamespace(choice=choice, settings=SETTINGS, stall_seconds=60.0)
    return cluster, JobWatch(jobs, job, asked).until_ended()


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


def test_a_partition_that_stands_still_is_warned_of_with_what_helps(
    caplog: pytest.LogCaptureFixture,
) -> None:
    one, other = TopicPartition("t", 0), TopicPartition("t", 1)
    jobs: Any = SimpleNamespace(settings=SETTINGS, stall_seconds=60.0)
    progress = StreamProgress(jobs)
    with caplog.at_level(logging.INFO, logger="pubner"):
        for now, place in ((0.0, 7), (300.0, 8), (320.0, 9)):
            progress.warn(Positions({one: 5, other: place}, {one: 12, other: 20}), now)
    [record] = caplog.records
    assert record.levelno == logging.WARNING
    assert "without its savepoint" in record.getMessage()
    wanted = {"topic": "t", "partition": 0, "offset": 5, "lag": 7, "seconds": 320}
    assert record.__dict__["fields"] == wanted


_ENDS = """
import json, os, sys, tempfile, time
from pipelines.runtime.left_behind import RemainingJob
from pipelines.runtime.stream_signals import stopping
def end(number, rest, job):
    remaining = RemainingJob(rest or None, in_process=not rest)
    with stopping(lambda: None, remaining.log) as asked:
        os.kill(os.getpid(), number)
        assert asked.is_set()
        remaining.flink_job = job or None
        os.kill(os.getpid(), number)
        time.sleep(60)
ends = []
for case in json.loads(sys.argv[1]):
    with tempfile.TemporaryFile() as file:
        child = os.fork()
        if not child:
            os.dup2(file.fileno(), 2)
            try:
                end(*case)
            finally:
                os._exit(1)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        file.seek(0)
        ends.append([code, file.read().decode()])
print(json.dumps(ends))
"""
_SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
_JOBS = [
    ("http://flink:8081", "j1", "http://flink:8081/jobs/j1/checkpoints"),
    ("http://flink:8081", "", "may keep running"),
    ("", "", "the next run of the group reads it again"),
]


@pytest.fixture(scope="module")
def ends() -> dict[tuple[int, str, str], tuple[int, str]]:
    """How a process ends at a second signal; all begin in one, since Beam is slow to import."""
    cases = [(int(number), rest, job) for number in _SIGNALS for rest, job, _ in _JOBS]
    words = [sys.executable, "-c", _ENDS, json.dumps(cases)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300, check=True)
    found = json.loads(done.stdout)
    return {case: (code, said) for case, (code, said) in zip(cases, found, strict=True)}


@pytest.mark.parametrize("number", _SIGNALS)
@pytest.mark.parametrize(("rest", "job", "part"), _JOBS)
def test_a_second_signal_says_what_goes_on(
    number: signal.Signals,
    rest: str,
    job: str,
    part: str,
    ends: dict[tuple[int, str, str], tuple[int, str]],
) -> None:
    code, written = ends[int(number), rest, job]
    assert code == 128 + number
    said = json.loads(written.splitlines()[-1])
    assert part in f"{said['event']} {said.get('see')}"
    assert said.get("flink_job") == (job or None)


def test_the_job_that_is_stopping_is_known_to_what_a_second_signal_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    job: Any = SimpleNamespace(has_ended=False)
    monkeypatch.setattr(stream_watch, "FlinkCluster", lambda _: Cluster(job, listed=True))
    monkeypatch.setattr(stream_watch, "_POLL_SECONDS", 0.01)
    choice = SimpleNamespace(flink_rest="http://localhost:1", job_name="stream-1")
    asked = threading.Event()
    asked.set()
    remaining = RemainingJob("http://localhost:1", in_process=False)
    jobs: Any = SimpleNamespace(choice=choice, settings=SETTINGS, stall_seconds=60.0)
    JobWatch(jobs, job, asked, remaining).until_ended()
    assert remaining.flink_job == "j1"
