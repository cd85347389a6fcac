"""Checks that the servers in a runner's options answer, before a pipeline is built.

Beam itself waits five minutes for a job server, silently, and another five for the Flink cluster.
"""

import re
import socket
from collections.abc import Callable

import grpc
from apache_beam.options.pipeline_options import PortableOptions
from apache_beam.portability.api import (
    beam_artifact_api_pb2_grpc,
    beam_job_api_pb2,
    beam_job_api_pb2_grpc,
)

from pipelines.runners.flink import FlinkCluster
from pipelines.runners.options import RunnerChoice
from pipelines.runners.reasons import reason
from schemas.errors import RunnerError, SettingsError

_CONNECT_SECONDS = 5
_ANSWER_SECONDS = 10
_ENDPOINT = re.compile(r"\[?([^\[\]/]+)\]?:(\d+)")


def check_cluster(choice: RunnerChoice) -> None:
    """Check the job server, the artifact endpoint and Flink's REST API of `choice`, if given.

    :raises SettingsError: if an endpoint is not a HOST:PORT.
    :raises RunnerError: if one does not answer within seconds, or is another kind of server.
    """
    options = choice.options.view_as(PortableOptions)
    patience = min(_CONNECT_SECONDS, options.job_server_timeout)
    if options.job_endpoint and options.job_endpoint != "embed":
        _check("--job_endpoint", options.job_endpoint, "Beam's job server", _ask_jobs, patience)
        if options.artifact_endpoint:
            what = "the job server's artifact service"
            _check("--artifact_endpoint", options.artifact_endpoint, what, _ask_artifacts, patience)
    if choice.flink_rest is not None:
        FlinkCluster(choice.flink_rest).slots(timeout_seconds=_ANSWER_SECONDS)


def _check(
    option: str, endpoint: str, what: str, ask: Callable[[grpc.Channel], None], patience: float
) -> None:
    match = _ENDPOINT.fullmatch(endpoint)
    if match is None:
        raise SettingsError(
            f"{option} {endpoint!r} is not the address of a server; expected HOST:PORT"
        )
    with grpc.insecure_channel(endpoint) as channel:
        try:
            grpc.channel_ready_future(channel).result(timeout=patience)
        except grpc.FutureTimeoutError:
            found = _connection(match[1], int(match[2]), patience)
            raise RunnerError(
                f"{option} {endpoint}: {found}; expected {what} there. Check that it runs, and "
                "its log"
            ) from None
        try:
            ask(channel)
        except grpc.RpcError as error:
            raise RunnerError(
                f"{option} {endpoint}: the server there is not {what}, or it fails "
                f"({reason(error)})"
            ) from error


def _connection(host: str, port: int, patience: float) -> str:
    """Return why a gRPC connection could not be established, as text."""
    try:
        socket.create_connection((host, port), timeout=patience).close()
    except socket.gaierror as error:
        return f"the host is unknown ({error.strerror or error})"
    except TimeoutError:
        return f"nothing answers within {patience:g} s"
    except OSError as error:
        return f"nothing answers ({error.strerror or error})"
    return f"something accepts connections and does not speak gRPC within {patience:g} s"


def _ask_jobs(channel: grpc.Channel) -> None:
    beam_job_api_pb2_grpc.JobServiceStub(channel).DescribePipelineOptions(
        beam_job_api_pb2.DescribePipelineOptionsRequest(), timeout=_ANSWER_SECONDS
    )


def _ask_artifacts(channel: grpc.Channel) -> None:
    """Send an empty request: any answer but UNIMPLEMENTED shows that the service exists."""
    stub = beam_artifact_api_pb2_grpc.ArtifactStagingServiceStub(channel)
    try:
        for _ in stub.ReverseArtifactRetrievalService(iter(()), timeout=_ANSWER_SECONDS):
            return
    except grpc.RpcError as error:
        if error.code() in (grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.DEADLINE_EXCEEDED):
            raise
