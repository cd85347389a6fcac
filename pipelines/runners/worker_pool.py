"""A Beam worker pool on loopback, which starts Python worker processes for a runner.

`python -m pipelines.runners.worker_pool --port=50000`. Anyone who can connect to a pool can run
code as its user: a worker connects to any address that it is given, and executes the code that it
receives. Beam's own pool (`apache_beam.runners.worker.worker_pool_main`) listens on all interfaces.
A TaskManager tells its workers to connect to localhost, so loopback is enough.
"""

import argparse
import contextlib
import subprocess
import sys
import threading
from collections.abc import Sequence

import grpc
from apache_beam.portability.api import beam_fn_api_pb2, beam_fn_api_pb2_grpc

from worker.cli.signals import handling_stop_signals

LOOPBACK = "127.0.0.1"
_STOP_SECONDS = 10.0
_WORKER = (
    "import sys; from apache_beam.runners.worker.sdk_worker import SdkHarness; "
    "SdkHarness(sys.argv[1], worker_id=sys.argv[2], data_buffer_time_limit_ms=-1).run()"
)


class WorkerPool(beam_fn_api_pb2_grpc.BeamFnExternalWorkerPoolServicer):
    """The gRPC service of the pool, with its worker processes by id."""

    def __init__(self) -> None:
        self._workers: dict[str, subprocess.Popen[bytes]] = {}
        self._lock = threading.Lock()

    def StartWorker(  # noqa: N802 - the service's own name
        self,
        request: beam_fn_api_pb2.StartWorkerRequest,
        context: grpc.ServicerContext,  # noqa: ARG002
    ) -> beam_fn_api_pb2.StartWorkerResponse:
        """Start a worker that connects to the runner's control endpoint."""
        address, name = request.control_endpoint.url, request.worker_id
        try:
            worker = subprocess.Popen(  # noqa: S603
                [sys.executable, "-c", _WORKER, address, name], stdin=subprocess.DEVNULL
            )
        except OSError as error:
            return beam_fn_api_pb2.StartWorkerResponse(error=f"cannot start a worker: {error}")
        with self._lock:
            for ended in [key for key, known in self._workers.items() if known.poll() is not None]:
                del self._workers[ended]
            self._workers[name] = worker
        return beam_fn_api_pb2.StartWorkerResponse()

    def StopWorker(  # noqa: N802
        self,
        request: beam_fn_api_pb2.StopWorkerRequest,
        context: grpc.ServicerContext,  # noqa: ARG002
    ) -> beam_fn_api_pb2.StopWorkerResponse:
        """End a worker, if there is one with that id."""
        with self._lock:
            worker = self._workers.pop(request.worker_id, None)
        if worker is not None:
            _stop([worker])
        return beam_fn_api_pb2.StopWorkerResponse()

    def close(self) -> None:
        """End all workers."""
        with self._lock:
            workers = list(self._workers.values())
            self._workers.clear()
        _stop(workers)


def serve(pool: WorkerPool, *, host: str, port: int) -> tuple[grpc.Server, int]:
    """Open the pool's port; return the running server, and the port that was chosen for 0.

    :raises RuntimeError: if the port cannot be opened.
    """
    from concurrent.futures import ThreadPoolExecutor

    # The system would distribute the calls over two pools on one port.
    options = [("grpc.http2.max_ping_strikes", 0), ("grpc.so_reuseport", 0)]
    server = grpc.server(ThreadPoolExecutor(max_workers=16), options=options)
    beam_fn_api_pb2_grpc.add_BeamFnExternalWorkerPoolServicer_to_server(pool, server)
    shown = f"[{host}]" if ":" in host else host
    chosen = server.add_insecure_port(f"{shown}:{port}")
    server.start()
    return server, chosen


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a pool until SIGTERM, SIGINT or SIGHUP; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.runners.worker_pool", description=__doc__
    )
    parser.add_argument("--port", "--service_port", type=int, required=True, help="0 takes a free")
    parser.add_argument("--host", default=LOOPBACK, help=f"the address to listen on ({LOOPBACK})")
    asked = parser.parse_args(arguments)
    if asked.host not in (LOOPBACK, "::1", "localhost"):
        _log(f"listening on {asked.host}: anyone who reaches port {asked.port} can run code here")
    ended = threading.Event()
    with handling_stop_signals(lambda _: ended.set(), lambda _: None):
        pool = WorkerPool()
        try:
            server, port = serve(pool, host=asked.host, port=asked.port)
        except RuntimeError as error:
            _log(f"cannot listen on {asked.host}:{asked.port}: {error}")
            return 2
        _log(f"workers are started at {asked.host}:{port}")
        ended.wait()
        server.stop(0)
        pool.close()
    return 0


def _stop(workers: Sequence["subprocess.Popen[bytes]"]) -> None:
    for worker in workers:
        worker.terminate()
    for worker in workers:
        with contextlib.suppress(subprocess.TimeoutExpired):
            worker.wait(_STOP_SECONDS)
            continue
        worker.kill()
        worker.wait()


def _log(line: str) -> None:
    sys.stderr.write(f"worker pool: {line}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
