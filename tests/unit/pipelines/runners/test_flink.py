"""Flink's REST API, on a server that answers as Flink does."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from pipelines.runners.flink import FlinkCluster
from schemas.errors import PubnerError


class Flink:
    """What the server answers, and what it was asked."""

    def __init__(self) -> None:
        self.jobs: list[dict[str, Any]] = []
        self.savepoints: list[dict[str, Any]] = []
        self.asked: list[tuple[str, str, Any]] = []


@pytest.fixture
def flink() -> Iterator[tuple[Flink, FlinkCluster]]:
    state = Flink()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.asked.append(("GET", self.path, None))
            if self.path == "/jobs/overview":
                self.answer({"jobs": state.jobs})
            elif "/savepoints/" in self.path:
                self.answer(state.savepoints.pop(0))
            else:
                self.send_error(404)

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            state.asked.append(("POST", self.path, body))
            self.answer({"request-id": "r1"})

        def answer(self, value: object) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(value).encode())

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield state, FlinkCluster(f"http://127.0.0.1:{server.server_port}")
    server.shutdown()
    server.server_close()


def job(name: str, state: str, start: int, id: str) -> dict[str, Any]:
    return {"name": name, "state": state, "start-time": start, "jid": id}


def test_the_newest_job_of_the_name_that_runs(flink: tuple[Flink, FlinkCluster]) -> None:
    state, cluster = flink
    assert cluster.find_job("mine") is None
    state.jobs = [
        job("mine", "RUNNING", 5, "a"),
        job("mine", "RUNNING", 9, "b"),
        job("mine", "FAILED", 12, "c"),
        job("other", "RUNNING", 20, "d"),
    ]
    assert cluster.find_job("mine") == "b"


def test_stopping_waits_for_the_savepoint(flink: tuple[Flink, FlinkCluster]) -> None:
    state, cluster = flink
    state.jobs = [job("mine", "RUNNING", 1, "j") | {"tasks": {"running": 3, "total": 3}}]
    state.savepoints = [
        {"status": {"id": "IN_PROGRESS"}},
        {"status": {"id": "COMPLETED"}, "operation": {"location": "file:/s/1"}},
    ]
    place = cluster.stop_with_savepoint("j", timeout_seconds=60, sleep=lambda _: None)
    assert place == "file:/s/1"
    assert ("POST", "/jobs/j/stop", {"drain": False}) in state.asked


def test_a_savepoint_that_fails_is_said(flink: tuple[Flink, FlinkCluster]) -> None:
    state, cluster = flink
    state.jobs = [job("mine", "RUNNING", 1, "j") | {"tasks": {"running": 3, "total": 3}}]
    failed = {"failure-cause": {"class": "java.util.concurrent.TimeoutException"}}
    state.savepoints = [{"status": {"id": "COMPLETED"}, "operation": failed}]
    with pytest.raises(PubnerError, match="TimeoutException"):
        cluster.stop_with_savepoint("j", timeout_seconds=60, sleep=lambda _: None)


def test_a_job_whose_tasks_start_yet_is_waited_for(flink: tuple[Flink, FlinkCluster]) -> None:
    state, cluster = flink
    running = job("mine", "RUNNING", 1, "j")
    state.jobs = [running | {"tasks": {"running": 1, "total": 3}}]
    state.savepoints = [{"status": {"id": "COMPLETED"}, "operation": {"location": "file:/s/1"}}]

    def sleep(_: float) -> None:
        assert not [path for method, path, _ in state.asked if method == "POST"]
        state.jobs = [running | {"tasks": {"running": 3, "total": 3}}]

    assert cluster.stop_with_savepoint("j", timeout_seconds=60, sleep=sleep) == "file:/s/1"


def test_one_that_takes_too_long_is_given_up(flink: tuple[Flink, FlinkCluster]) -> None:
    state, cluster = flink
    state.jobs = [job("mine", "RUNNING", 1, "j") | {"tasks": {"running": 3, "total": 3}}]
    state.savepoints = [{"status": {"id": "IN_PROGRESS"}}] * 10
    times = iter(range(100))
    with pytest.raises(PubnerError, match="within 3 s"):
        cluster.stop_with_savepoint(
            "j", timeout_seconds=3, clock=lambda: float(next(times)), sleep=lambda _: None
        )


def test_a_cluster_that_is_not_there_is_one_line() -> None:
    with pytest.raises(PubnerError, match="--flink_master names the JobManager"):
        FlinkCluster("http://127.0.0.1:9").find_job("x")
