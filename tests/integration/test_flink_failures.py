"""What fails on a Flink cluster is told in words and in seconds, not waited for in silence."""

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.annotating import articles, pubmed_xml
from tests.support.commands import Finished, run_pubner
from tests.support.services import Flink, Kafka, get
from tests.support.stream_check import check_committed, check_stream
from tests.support.stream_runs import BLOCK_SIZE, Stream, flink_runner
from tests.support.streaming import Sender, make_topic

Annotate = Callable[..., Finished]


@pytest.fixture
def annotate_on(flink: Flink, checkpoint: Path, tmp_path: Path) -> Annotate:
    """Run `pubner annotate` on the cluster; options that are given replace the cluster's."""
    source = pubmed_xml(tmp_path / "a.xml", articles(3))

    def run(*words: str) -> Finished:
        given = {word.partition("=")[0] for word in words}
        cluster = [word for word in flink.options if word.partition("=")[0] not in given]
        return run_pubner(
            tmp_path / "run",
            *("annotate", str(source), f"--output={tmp_path / 'out'}"),
            *(f"--checkpoint={checkpoint}", "--runner=FlinkRunner", "--", *cluster, *words),
        )

    return run


def error_of(done: Finished) -> str:
    """Return the one line of the error; nothing of Python's or Java's stands around it."""
    assert done.code == 2, done.err
    assert "Traceback" not in done.err
    assert "\tat " not in done.err
    line = done.err.splitlines()[-1]
    assert line.startswith("pubner: ")
    assert not line.rstrip().endswith(">")
    return line


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("--job_endpoint", "--job_endpoint 127.0.0.1:9: nothing answers (Connection refused)"),
        ("--artifact_endpoint", "--artifact_endpoint 127.0.0.1:9: nothing answers (Connection"),
        ("--flink_master", "http://127.0.0.1:9 does not answer (Connection refused)"),
    ],
)
def test_nothing_answers(option: str, words: str, annotate_on: Annotate) -> None:
    assert words in error_of(annotate_on(f"{option}=127.0.0.1:9"))


def test_a_stream_tells_the_same(
    kafka: Kafka, flink: Flink, checkpoint: Path, tmp_path: Path
) -> None:
    make_topic(kafka.bootstrap, "failures-endpoint", 1)
    stream = Stream(tmp_path, kafka.bootstrap, ("failures-endpoint",), checkpoint)
    cluster = [x for x in flink.options if not x.startswith("--job_endpoint")]
    words = [*stream.words(flink_runner(flink)), *cluster, "--job_endpoint=127.0.0.1:9"]
    error = error_of(run_pubner(tmp_path / "run", *words))
    assert "--job_endpoint 127.0.0.1:9: nothing answers" in error


def test_a_worker_pool_that_the_taskmanager_cannot_reach(
    flink: Flink, annotate_on: Annotate
) -> None:
    before = flink.jobs().keys()
    done = annotate_on("--environment_config=127.0.0.1:9", "--job_server_timeout=5")
    error = error_of(done)
    assert "the worker pool at 127.0.0.1:9 (--environment_config) cannot be reached" in error
    assert "failed and is restarted by Flink: the worker pool at 127.0.0.1:9" in done.err
    [job] = flink.jobs().keys() - before
    wait_for(lambda: flink.jobs()[job] == "CANCELED")


def test_a_cluster_without_slots(flink: Flink, annotate_on: Annotate) -> None:
    flink.kill("taskmanager-1")
    try:
        wait_for(lambda: json.loads(get(f"{flink.rest}/overview"))["taskmanagers"] == 0)
        done = annotate_on("--job_server_timeout=8")
    finally:
        flink.start("taskmanager")
    wanted = "wait for a slot, and 0 of the cluster's 0 are free (0 TaskManagers)"
    assert wanted in error_of(done)
    assert "does not run yet" in done.err


@pytest.mark.timeout(600)
def test_a_stream_outlives_its_job_server(
    kafka: Kafka, flink: Flink, checkpoint: Path, tmp_path: Path
) -> None:
    topic = "failures-job-server"
    make_topic(kafka.bootstrap, topic, 1)
    sender = Sender(kafka.bootstrap)
    sent = sender.send(topic, 100, partitions=[0])
    stream = Stream(tmp_path, kafka.bootstrap, (topic,), checkpoint, group=topic)
    running = stream.start(flink_runner(flink))
    stream.wait_for_rows(len(sent), running)
    flink.kill("jobserver")
    try:
        wait_for(lambda: "goes on without it" in stream.said() or not running.is_alive)
        sent += sender.send(topic, 100, partitions=[0])
        stream.wait_for_rows(len(sent), running)
        summary = stream.drain(running)
    finally:
        flink.start("jobserver")
    assert summary["savepoint"] is not None
    check_stream(stream.output, sent, block_size=BLOCK_SIZE)
    check_committed(kafka.bootstrap, topic, [topic])


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 240
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.2)
