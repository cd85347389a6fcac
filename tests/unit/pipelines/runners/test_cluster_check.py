"""A cluster whose servers are missing, silent, or others than the options say."""

import concurrent.futures
import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import grpc
import pytest
from apache_beam.portability.api import (
    beam_artifact_api_pb2_grpc,
    beam_job_api_pb2,
    beam_job_api_pb2_grpc,
)

from pipelines.runners.cluster_check import check_cluster
from pipelines.runners.options import choose_runner
from schemas.errors import RunnerError, SettingsError


class Jobs(beam_job_api_pb2_grpc.JobServiceServicer):
    """As much of a job server as is asked."""

    def DescribePipelineOptions(self, request: object, context: object) -> object:  # noqa: N802
        return beam_job_api_pb2.DescribePipelineOptionsResponse()


class Artifacts(beam_artifact_api_pb2_grpc.ArtifactStagingServiceServicer):
    """An artifact service that ends a call in which nothing is offered."""

    def ReverseArtifactRetrievalService(  # noqa: N802
        self, requests: object, context: grpc.ServicerContext
    ) -> Iterator[object]:
        context.abort(grpc.StatusCode.INVALID_ARGUMENT, "no token")
        yield object()


@pytest.fixture
def jobs() -> Iterator[str]:
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(1))
    beam_job_api_pb2_grpc.add_JobServiceServicer_to_server(Jobs(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(0).wait()


@pytest.fixture
def artifacts() -> Iterator[str]:
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(1))
    beam_artifact_api_pb2_grpc.add_ArtifactStagingServiceServicer_to_server(Artifacts(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(0).wait()


@pytest.fixture
def silent() -> Iterator[str]:
    """A server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


def http(answer: object) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(answer).encode())

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def rest() -> Iterator[str]:
    yield from http({"slots-total": 0, "slots-available": 0, "taskmanagers": 0})


@pytest.fixture
def other() -> Iterator[str]:
    yield from http({"hello": "world"})


def check(**options: str) -> None:
    words = [f"--{name}={value}" for name, value in options.items()]
    check_cluster(choose_runner("FlinkRunner", [*words, "--job_server_timeout=1"]))


def test_what_answers_is_well(jobs: str, artifacts: str, rest: str) -> None:
    check(job_endpoint=jobs, artifact_endpoint=artifacts, flink_master=rest)


def test_a_runner_without_servers_is_not_asked() -> None:
    check_cluster(choose_runner("DirectRunner", []))
    check(flink_master="[local]")


def test_nothing_at_the_job_endpoint(silent: str) -> None:
    with pytest.raises(RunnerError, match=r"--job_endpoint 127.0.0.1:9: nothing answers \(Conn"):
        check(job_endpoint="127.0.0.1:9")
    with pytest.raises(RunnerError, match=r"no.such.host.invalid:9: the host is unknown"):
        check(job_endpoint="no.such.host.invalid:9")
    with pytest.raises(
        RunnerError, match="does not speak gRPC within 1 s; expected Beam's job server"
    ):
        check(job_endpoint=silent)
    with pytest.raises(SettingsError, match=r"--job_endpoint 'localhost' .* HOST:PORT"):
        check(job_endpoint="localhost")


def test_servers_that_are_mixed_up(jobs: str, artifacts: str, rest: str, other: str) -> None:
    with pytest.raises(RunnerError, match="the server there is not Beam's job server"):
        check(job_endpoint=artifacts)
    with pytest.raises(RunnerError, match="is not the job server's artifact service"):
        check(job_endpoint=jobs, artifact_endpoint=jobs)
    with pytest.raises(RunnerError, match=r"--artifact_endpoint 127.0.0.1:9: nothing answers"):
        check(job_endpoint=jobs, artifact_endpoint="127.0.0.1:9")
    with pytest.raises(RunnerError, match="does not speak gRPC"):
        check(job_endpoint=rest)
    with pytest.raises(RunnerError, match="not Flink's REST API"):
        check(job_endpoint=jobs, flink_master=other)
    with pytest.raises(RunnerError, match="--flink_master names the JobManager"):
        check(job_endpoint=jobs, flink_master=jobs)


def test_no_cluster(jobs: str) -> None:
    with pytest.raises(RunnerError, match=r"http://127.0.0.1:9 does not answer \(Connection ref"):
        check(job_endpoint=jobs, flink_master="127.0.0.1:9")
