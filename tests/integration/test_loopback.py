"""Nothing that runs on this machine for pubner takes connections from another one."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.io.iobase import Read
from apache_beam.io.unbounded_source import UnboundedCountingSource
from apache_beam.options.pipeline_options import PipelineOptions

from tests.integration.conftest import need
from tests.support.gcs import GcsServer
from tests.support.processes import exposed, listening
from tests.support.root import ROOT
from tests.support.s3 import S3Server
from tests.support.services import Flink, Kafka, processes_of


def touch(number: int, folder: str) -> int:
    """Leave a file named as `number`."""
    (Path(folder) / str(number)).touch()
    return number


def test_kafka(kafka: Kafka) -> None:
    pids = processes_of(kafka.folder)
    assert len(listening(pids)) >= 3, "two secure listeners among them"
    assert exposed(pids) == []


def test_flink_while_a_job_runs(flink: Flink, tmp_path: Path) -> None:
    """A TaskManager opens ports for its Python workers then, and so may these."""
    before = processes_of(flink.folder)
    ports = set(listening(before))
    options = [*flink.options, "--streaming", "--finish_bundle_before_checkpointing"]
    pipeline = beam.Pipeline(
        "FlinkRunner", PipelineOptions([*options, "--checkpointing_interval=1000"])
    )
    _ = pipeline | Read(UnboundedCountingSource(10)) | beam.Map(touch, str(tmp_path))
    known = set(flink.jobs())
    pipeline.run()
    try:
        deadline = time.monotonic() + 240
        while not (tmp_path / "9").exists():
            assert time.monotonic() < deadline, flink.folder
            time.sleep(0.1)
        pids = processes_of(flink.folder)
        assert set(pids) > set(before), "no Python worker runs"
        assert set(listening(pids)) > ports, "no port was opened for the workers"
        assert exposed(pids) == []
    finally:
        for job in set(flink.jobs()) - known:
            flink.cancel(job)


@pytest.fixture(params=[S3Server, GcsServer])
def object_server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[S3Server | GcsServer]:
    need("go")
    server: S3Server | GcsServer = request.param(tmp_path / "server")
    try:
        server.up()
        yield server
    finally:
        server.down()


def test_servers_of_objects(object_server: S3Server | GcsServer) -> None:
    pids = processes_of(object_server.folder)
    assert len(listening(pids)) == 1
    assert exposed(pids) == []


def test_prism_by_itself(prism: str) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen([prism, f"--job_port={port}", "--serve_http=false"])
    try:
        while port not in listening([process.pid]):
            assert process.poll() is None
            time.sleep(0.05)
        assert exposed([process.pid]) == []
    finally:
        process.kill()
        process.wait()


def test_a_worker_pool_listens_elsewhere_only_where_it_is_told_and_says_so() -> None:
    command = [sys.executable, "-m", "pipelines.runners.worker_pool", "--port=0", "--host=0.0.0.0"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    pool = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
    assert pool.stderr is not None
    try:
        while not listening([pool.pid]):
            assert pool.poll() is None
            time.sleep(0.05)
        assert exposed([pool.pid]) != []
    finally:
        pool.terminate()
        _, said = pool.communicate(timeout=60)
    assert pool.returncode == 0
    assert "anyone who reaches port 0 can run code here" in said
