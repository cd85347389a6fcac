"""Fixtures of the end-to-end tests."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.checkpoints import tiny_checkpoint
from tests.support.root import ROOT
from tests.support.services import Flink, Kafka, Security


def need(*programs: str) -> None:
    """Skip where a program is missing, except in CI."""
    missing = [program for program in programs if shutil.which(program) is None]
    if missing and not os.environ.get("CI"):
        pytest.skip(f"not installed: {', '.join(missing)}")


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real, tiny, random checkpoint with the heads ncbi-disease and bc2gm."""
    return tiny_checkpoint(tmp_path_factory.mktemp("checkpoints") / "tiny")


@pytest.fixture(scope="session")
def other_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another one, with the head jnlpba."""
    folder = tmp_path_factory.mktemp("checkpoints") / "other"
    return tiny_checkpoint(folder, tasks=["jnlpba"], seed=1)


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    """The one broker of all tests; each takes topics and groups of its own."""
    need("java", "mvn")
    broker = Kafka(tmp_path_factory.mktemp("kafka"))
    try:
        broker.up("--secure")
        yield broker
    finally:
        broker.down()


@pytest.fixture(scope="session")
def secure_kafka(kafka: Kafka) -> Security:
    """The secure listeners of the same broker."""
    return kafka.security


@pytest.fixture(scope="session")
def flink(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flink]:
    """The one cluster of all tests, of one TaskManager of two slots; each ends its own jobs.

    Its workers can import the tests.
    """
    need("java", "mvn")
    cluster = Flink(tmp_path_factory.mktemp("flink"))
    try:
        cluster.up(environment={"PYTHONPATH": str(ROOT)})
        yield cluster
    finally:
        cluster.down()


@pytest.fixture(scope="session")
def prism() -> str:
    """The Prism program, built where that was not done before."""
    need("go")
    done = subprocess.run(
        [ROOT / "deploy" / "local" / "prism"],
        capture_output=True,
        text=True,
        timeout=550,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]
