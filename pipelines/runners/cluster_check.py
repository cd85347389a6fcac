"""Whether the servers that a runner's options name answer, asked before a pipeline is built.

Beam itself waits five minutes for a job server, in silence, and as long again for Flink behind it.
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
    """Ask the job server, the artifact endpoint and Flink's REST API of `choice`, if it names them.

    :raises SettingsError: if an endpoint is no HOST:PORT.
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
    place = _ENDPOINT.fullmatch(endpoint)
    if place is None:
        raise SettingsError(f"{option} {endpoint!r} names no server; HOST:PORT was expected")
    with grpc.insecure_channel(endpoint) as channel:
        try:
            grpc.channel_ready_future(channel).result(timeout=patience)
        except grpc.FutureTimeoutError:
            found = _connection(place[1], int(place[2]), patience)
            raise RunnerError(
                f"{option} {endpoint}: {found}; {what} was expected there. See that it runs, and "
                "its log"
            ) from None
        try:
            ask(channel)
        except grpc.RpcError as error:
            raise RunnerError(
                f"{option} {endpoint}: what answers there is not {what}, or is not well "
                f"({reason(error)})"
            ) from error


def _connection(host: str, port: int, patience: float) -> str:
    """Return in words why no gRPC connection came about."""
    try:
        socket.create_connection((host, port), timeout=patience).close()
    except socket.gaierror as error:
        return f"the host is not known ({error.strerror or error})"
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
    """Ask for nothing: whatever else the service says to that, it knows the call."""
    stub = beam_artifact_api_pb2_grpc.ArtifactStagingServiceStub(channel)
    try:
        for _ in stub.ReverseArtifactRetrievalService(iter(()), timeout=_ANSWER_SECONDS):
            return
    except grpc.RpcError as error:
        if error.code() in (grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.DEADLINE_EXCEEDED):
            raise
