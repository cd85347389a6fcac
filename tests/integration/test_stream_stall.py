"""A job on Flink that is stalled is restarted by the command, and nothing is lost or twice."""

import os
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tests.support.services import Flink, Kafka
from tests.support.stream_check import check_committed, check_stream, rows_in_place
from tests.support.stream_runs import BLOCK_SIZE, Stream, flink_runner, wait_until
from tests.support.streaming import Sender, make_topic

PARTITIONS = (0, 1)
STALL_SECONDS = 30
Harm = Callable[[Flink], Sequence[psutil.Process]]


def workers(flink: Flink) -> Sequence[psutil.Process]:
    """Return the Python workers, without the time that deploy/local needs to tell them."""
    with suppress(psutil.Error):
        return psutil.Process(flink.pid("workerpool")).children(recursive=True)
    return ()


def stop(flink: Flink) -> Sequence[psutil.Process]:
    """SIGSTOP of a worker that works: its connections stay, and no answer comes."""
    found = workers(flink)
    for worker in found:
        worker.suspend()
    return found


def kill_young(flink: Flink) -> Sequence[psutil.Process]:
    """SIGKILL of a worker, and of the next one before it has reached its TaskManager."""
    before = {worker.pid for worker in workers(flink)}
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    for worker in newcomers(flink, before):
        worker.kill()
    return ()


def newcomers(flink: Flink, before: set[int]) -> Sequence[psutil.Process]:
    deadline = time.monotonic() + 60
    while not (found := [x for x in workers(flink) if x.pid not in before]):
        assert time.monotonic() < deadline, "no other worker was started"
        time.sleep(0.01)
    return found


@pytest.fixture
def stream(kafka: Kafka, checkpoint: Path, tmp_path: Path, topic: str) -> Stream:
    options = (f"--stall-seconds={STALL_SECONDS}",)
    return Stream(tmp_path, kafka.bootstrap, (topic,), checkpoint, group=topic, options=options)


@pytest.fixture
def topic(kafka: Kafka, request: pytest.FixtureRequest) -> str:
    name = f"stall-{request.node.callspec.id}"
    make_topic(kafka.bootstrap, name, len(PARTITIONS))
    return name


@pytest.mark.timeout(600)
@pytest.mark.parametrize("harm", [stop, kill_young], ids=["stopped", "young"])
def test_a_stalled_job_is_restarted(
    kafka: Kafka,
    flink: Flink,
    stream: Stream,
    topic: str,
    harm: Harm,
) -> None:
    sender = Sender(kafka.bootstrap)
    sent = sender.send(topic, 300, partitions=PARTITIONS)
    running = stream.start(flink_runner(flink))
    stream.wait_for_rows(len(sent), running)
    [before] = [job for job, state in flink.jobs().items() if state == "RUNNING"]
    wait_until(lambda: flink.newest_checkpoint(before) is not None, running)
    harmed = harm(flink)
    sent += sender.send(topic, 300, partitions=PARTITIONS)
    stream.wait_for_rows(len(sent), running)
    assert rows_in_place(stream.output) == len(sent)
    summary = stream.drain(running)
    check_stream(stream.output, sent, block_size=BLOCK_SIZE)
    check_committed(kafka.bootstrap, topic, [topic])
    assert summary["stall_restarts"] >= 1
    assert "the job is stalled" in stream.said()
    assert f'"restarted_from": "file:{flink.folder}/checkpoints/{before}/' in stream.said()
    for worker in harmed:
        with suppress(psutil.NoSuchProcess):
            worker.kill()
    wait_until(lambda: flink.jobs()[before] == "CANCELED")
