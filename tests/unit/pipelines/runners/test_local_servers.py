"""Servers in this process keep to loopback."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
from apache_beam.portability.api import (
    beam_fn_api_pb2,
    beam_fn_api_pb2_grpc,
    endpoints_pb2,
)

from pipelines.runners.local_servers import on_loopback
from pipelines.runners.worker_pool import WorkerPool, serve
from tests.support.processes import descendants, exposed, listening, still_running


@pytest.mark.parametrize("address", ["[::]:0", "0.0.0.0:0", "127.0.0.1:0", "localhost:0"])
def test_a_grpc_server_listens_on_loopback_alone(address: str) -> None:
    before = set(listening([os.getpid()]))
    with on_loopback():
        server = grpc.server(ThreadPoolExecutor(1))
        port = server.add_insecure_port(address)
    server.start()
    try:
        assert port in set(listening([os.getpid()])) - before
        assert not [x for x in exposed([os.getpid()]) if f", {port})" in x]
    finally:
        server.stop(0).wait()


def test_a_grpc_server_made_outside_is_left_as_it_was() -> None:
    with on_loopback():
        pass
    server = grpc.server(ThreadPoolExecutor(1))
    port = server.add_insecure_port("[::]:0")
    server.start()
    try:
        assert [x for x in exposed([os.getpid()]) if f", {port})" in x]
    finally:
        server.stop(0).wait()


def test_a_pool_starts_and_stops_worker_processes_and_takes_names_for_no_code(
    tmp_path: Path,
) -> None:
    pool = WorkerPool()
    server, port = serve(pool, host="127.0.0.1", port=0)
    try:
        channel = grpc.insecure_channel(f"127.0.0.1:{port}")
        client = beam_fn_api_pb2_grpc.BeamFnExternalWorkerPoolStub(channel)
        name = f'"); open("{tmp_path / "ran"}", "w"); ("'
        before = {x.pid for x in descendants(os.getpid())}
        for worker_id in (name, "worker-1"):
            answer = client.StartWorker(
                beam_fn_api_pb2.StartWorkerRequest(
                    worker_id=worker_id,
                    control_endpoint=endpoints_pb2.ApiServiceDescriptor(url="127.0.0.1:1"),
                )
            )
            assert answer.error == ""
        workers = [x for x in descendants(os.getpid()) if x.pid not in before]
        assert len(workers) == 2
        client.StopWorker(beam_fn_api_pb2.StopWorkerRequest(worker_id=name))
        assert len(still_running(workers[:1])) == 0
        client.StopWorker(beam_fn_api_pb2.StopWorkerRequest(worker_id="unknown"))
    finally:
        server.stop(0).wait()
        pool.close()
    assert still_running(workers) == []
    assert list(tmp_path.iterdir()) == []


def test_a_taken_port_is_one_line_and_not_shared() -> None:
    pool = WorkerPool()
    server, port = serve(pool, host="127.0.0.1", port=0)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "pipelines.runners.worker_pool", f"--port={port}"],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    finally:
        server.stop(0).wait()
    assert done.returncode == 2
    assert f"cannot listen on 127.0.0.1:{port}" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
