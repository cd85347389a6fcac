"""Restricts the servers that Beam's runners start on this machine: loopback only, ended with us.

Beam's Python SDK opens its gRPC servers (the worker pool of a LOOPBACK environment, and those for
the worker processes of the in-process runner) on all interfaces, without authentication, and each
of them executes code that it receives. Prism and Beam's job servers are subprocesses that Beam
starts and stops; if this process is killed, they would keep running.
"""

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import grpc
from apache_beam.portability import python_urns
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner
from apache_beam.runners.portability.job_server import StopOnExitJobServer, SubprocessJobServer
from apache_beam.runners.portability.portable_runner import PortableRunner

from worker.system.children import supervised

if TYPE_CHECKING:
    from apache_beam.runners.runner import PipelineRunner

LOOPBACK = "127.0.0.1"
_ANYWHERE = ("[::]", "0.0.0.0")  # noqa: S104 - the addresses to replace


@contextmanager
def on_loopback() -> Iterator[None]:
    """Make gRPC servers listen on loopback instead of all interfaces while the block runs."""
    make_server = grpc.server

    def make(*arguments: Any, **options: Any) -> grpc.Server:  # noqa: ANN401 - gRPC's own
        server = make_server(*arguments, **options)
        open_port = server.add_insecure_port

        def add_insecure_port(address: str) -> int:
            host, _, port = address.rpartition(":")
            chosen: int = open_port(f"{LOOPBACK}:{port}" if host in _ANYWHERE else address)
            return chosen

        server.add_insecure_port = add_insecure_port
        return server

    grpc.server = make
    try:
        yield
    finally:
        grpc.server = make_server


class InProcessRunner(FnApiRunner):
    """Beam's in-process runner, on loopback; its worker processes end with this process."""

    def run_pipeline(self, pipeline: Any, options: Any) -> Any:  # noqa: ANN401 - Beam's own
        """Run a pipeline to its end."""
        with on_loopback():
            return super().run_pipeline(pipeline, options)

    def run_via_runner_api(self, pipeline_proto: Any, options: Any) -> Any:  # noqa: ANN401
        """Run a pipeline to its end."""
        for environment in pipeline_proto.components.environments.values():
            if environment.urn == python_urns.SUBPROCESS_SDK:
                command = supervised(shlex.split(environment.payload.decode()))
                environment.payload = f"exec {shlex.join(command)}".encode()
        return super().run_via_runner_api(pipeline_proto, options)


def keep_local(runner: "PipelineRunner") -> "PipelineRunner":
    """Return `runner` with its servers on loopback and its subprocesses supervised."""
    if isinstance(runner, PortableRunner):
        kind = type(runner)
        runner.__class__ = type(kind.__name__, (_KeptLocal, kind), {})
    return runner


class _KeptLocal(PortableRunner):
    """A mixin that is put before a portable runner's own class."""

    def run_portable_pipeline(self, pipeline: Any, options: Any) -> Any:  # noqa: ANN401
        with on_loopback():
            return super().run_portable_pipeline(pipeline, options)

    def default_job_server(self, options: Any) -> Any:  # noqa: ANN401
        server: Any = super().default_job_server(options)  # type: ignore[no-untyped-call]
        inner = server._job_server if isinstance(server, StopOnExitJobServer) else server
        if isinstance(inner, SubprocessJobServer):
            _supervise(inner)
        return server


def _supervise(server: Any) -> None:  # noqa: ANN401 - Beam's, some of whose types are none
    """Make a server's subprocess end with this process; Beam may return the same server again."""
    if "subprocess_cmd_and_endpoint" in vars(server):
        return
    own = server.subprocess_cmd_and_endpoint

    def subprocess_cmd_and_endpoint() -> tuple[list[str], str]:
        command, endpoint = own()
        return supervised([str(argument) for argument in command]), endpoint

    server.subprocess_cmd_and_endpoint = subprocess_cmd_and_endpoint
