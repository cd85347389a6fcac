"""Output to S3, against a real server: runs, interruptions, writers that race."""

import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pipelines.kafka.drain import DrainSignal
from pipelines.output.manifest import open_existing, open_output
from pipelines.output.store import open_store
from pipelines.output.writer import committed_blocks, read_block
from pubner import cli
from schemas.arrow import KINDS
from schemas.errors import OutputError
from tests.support.annotating import annotate, articles, check_output, pubmed_xml
from tests.support.blocks import all_rows, rows
from tests.support.commands import run_pubner, start_pubner
from tests.support.object_servers import running, skip_without_go
from tests.support.parts import KEY, SIZE, part, writer_to
from tests.support.s3 import S3Server, count_files, download, versions
from tests.support.services import Kafka
from tests.support.streaming import Sender, make_topic
from tests.support.writing import start_writer

NAME = "topic-0-000000000000.parquet"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """The one server of these tests; each takes a prefix of its own."""
    skip_without_go()
    with running(S3Server(tmp_path_factory.mktemp("s3"))) as found:
        yield found


@pytest.fixture
def root(server: S3Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """The URL of an output of this test's own; this process can reach it."""
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    return server.url(f"{tmp_path.name}/out")


def words(source: Path, root: str, checkpoint: Path) -> list[str]:
    options = [f"--output={root}", f"--checkpoint={checkpoint}", "--threads=1", "--block-size=5"]
    return ["annotate", str(source), *options]


@pytest.mark.timeout(600)
def test_a_run_that_is_killed_goes_on_where_it_was(
    tmp_path: Path, checkpoint: Path, root: str, server: S3Server
) -> None:
    source = pubmed_xml(tmp_path / "a.xml", articles(150))
    annotate([source], tmp_path / "disk", checkpoint)
    kills = 0
    for count in (2, 5):
        running = start_pubner(
            tmp_path / "log",
            *words(source, root, checkpoint),
            environment=server.environment,
        )
        while running.is_alive and count_files(root) < 3 * count - 1:
            time.sleep(0.001)
        running.send(signal.SIGKILL)
        kills += running.finish().code == -signal.SIGKILL
    assert kills == 2
    before = committed_blocks(open_store(root), "a.xml")
    assert 0 < len(before) < 30
    done = run_pubner(
        tmp_path / "log", *words(source, root, checkpoint), environment=server.environment
    )
    assert done.code == 0, done.err
    after = committed_blocks(open_store(root), "a.xml")
    assert {start: after[start] for start in before} == before
    found = download(root, tmp_path / "s3")
    assert check_output(found) == all_rows(tmp_path / "disk")


@pytest.mark.parametrize(
    "step", ["put .journal/topic-0", *(f"put {kind}/{NAME}" for kind in KINDS)]
)
def test_a_writer_that_is_killed_leaves_nothing_mixed(tmp_path: Path, root: str, step: str) -> None:
    writer = writer_to(open_store(root))
    writer.write(part(0, 4, 1))
    dying = start_writer(root, 2, 6, 2, step, "SIGKILL")
    _, said = dying.communicate(timeout=120)
    assert dying.returncode == -signal.SIGKILL, said
    writer.write(part(6, 8, 3))
    found = {
        row["offset"]: row["checkpoint_id"]
        for row in rows(download(root, tmp_path / "s3"), "citations")
    }
    expected = dict.fromkeys([0, 1], "c1") | dict.fromkeys([6, 7], "c3")
    in_journal = step != "put .journal/topic-0"
    expected |= dict.fromkeys([2, 3, 4, 5], "c2") if in_journal else dict.fromkeys([2, 3], "c1")
    assert found == expected
    assert len(rows(tmp_path / "s3", "mentions")) == 2 * len(expected)
    block = read_block(open_store(root), KEY)
    assert block is not None
    assert block.consistent


@pytest.mark.parametrize(
    "step",
    [f"get mentions/{NAME}", "put .journal/topic-0", *(f"put {kind}/{NAME}" for kind in KINDS)],
)
def test_a_writer_that_was_stopped_and_writes_late_loses_nothing(
    tmp_path: Path, root: str, step: str
) -> None:
    writer = writer_to(open_store(root))
    writer.write(part(0, 3, 1))
    stale = start_writer(root, 2, 6, 2, step, "SIGSTOP")
    _, status = os.waitpid(stale.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status)
    for number, (begin, end) in enumerate([(5, 7), (7, 8)], 3):
        writer.write(part(begin, end, number))
    stale.send_signal(signal.SIGCONT)
    said = stale.communicate(timeout=120)
    assert said[0] == "done\n", said[1]
    block = read_block(open_store(root), KEY)
    assert block is not None
    assert block.consistent
    assert (block.footer.covered, block.footer.complete) == (((0, SIZE),), True)
    check = download(root, tmp_path / "s3")
    assert [row["offset"] for row in rows(check, "citations")] == list(range(SIZE))
    assert len(rows(check, "mentions")) == 2 * SIZE


def test_writers_that_race_on_one_block_lose_nothing(tmp_path: Path, root: str) -> None:
    others = [start_writer(root, n, n + 2, n) for n in (0, 3, 6)]

    def write(number: int) -> None:
        writer_to(open_store(root)).write(part(number % SIZE, number % SIZE + 1, number))

    with ThreadPoolExecutor(3) as threads:
        list(threads.map(write, range(16)))
    for other in others:
        said = other.communicate(timeout=120)
        assert said[0] == "done\n", said[1]
    found = read_block(open_store(root), KEY)
    assert found is not None
    assert found.consistent
    assert found.footer.covered == ((0, SIZE),)
    check = download(root, tmp_path / "s3")
    assert [row["offset"] for row in rows(check, "citations")] == list(range(SIZE))
    assert len(rows(check, "mentions")) == 2 * SIZE


def test_topics_are_recorded_and_torn_blocks_settled(root: str) -> None:
    topics = {KEY.source: "kafka:c:t"}
    with open_output(root, block_size=SIZE, sources=topics) as store:
        writer_to(store).write(part(0, 3, 1))
    dying = start_writer(root, 2, 6, 2, f"put citations/{NAME}", "SIGKILL")
    dying.communicate(timeout=120)
    assert committed_blocks(open_existing(root), KEY.source) == {}
    with open_output(root, block_size=SIZE, sources={**topics, "more": "kafka:c:m"}) as store:
        assert committed_blocks(store, KEY.source)[0].covered == ((0, 6),)
    with (
        pytest.raises(OutputError, match="another topic 'topic'"),
        open_output(root, block_size=SIZE, sources={KEY.source: "kafka:c:new"}),
    ):
        pass


def test_what_is_wrong_is_one_line(
    tmp_path: Path,
    checkpoint: Path,
    root: str,
    server: S3Server,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    source = pubmed_xml(tmp_path / "a.xml", articles(1))

    def complain(output: str, **environment: str) -> str:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        capfd.readouterr()
        assert cli.main(words(source, output, checkpoint)) == 2
        out, err = capfd.readouterr()
        assert out == ""
        assert err.count("\n") == 1, err
        return err

    assert "names no bucket" in complain("s3://")
    assert "bucket does not exist" in complain("s3://no-such-bucket/out")
    wrong = tmp_path / "wrong"
    wrong.write_text("[default]\naws_access_key_id = pubner\naws_secret_access_key = wrong\n")
    said = complain(root, AWS_SHARED_CREDENTIALS_FILE=str(wrong))
    assert "check the bucket, AWS_ENDPOINT_URL and the credentials" in said
    nowhere = {"AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": str(tmp_path / "none")}
    missing = str(tmp_path / "none")
    said = complain(root, AWS_SHARED_CREDENTIALS_FILE=missing, **nowhere)
    assert "Unable to locate credentials" in said
    credentials = server.environment["AWS_SHARED_CREDENTIALS_FILE"]
    said = complain(
        root,
        AWS_ENDPOINT_URL="http://127.0.0.1:1",
        AWS_SHARED_CREDENTIALS_FILE=credentials,
        AWS_MAX_ATTEMPTS="1",
    )
    assert "Could not connect to the endpoint" in said


def test_a_stream_writes_there_and_can_be_drained(
    kafka: Kafka, root: str, checkpoint: Path, tmp_path: Path
) -> None:
    topic = "object-store"
    make_topic(kafka.bootstrap, topic, 2)
    sent = Sender(kafka.bootstrap).send(topic, 80, partitions=[0, 1])
    command = [
        *("stream", f"--brokers={kafka.bootstrap}", f"--topic={topic}", "--group=object-store"),
        *(f"--output={root}", f"--checkpoint={checkpoint}", "--until-caught-up"),
    ]
    assert cli.main(command) == 0
    before = versions(root)
    found = all_rows(download(root, tmp_path / "found"))
    assert len(found["citations"]) + len(found["dead_letters"]) == len(sent)
    assert cli.main(command) == 0
    assert versions(root) == before
    signal = DrainSignal(root, "run")
    assert not signal.requested(0.0)
    signal.request()
    assert signal.requested(2.0)
    signal.clear()
    assert not DrainSignal(root, "run").requested(0.0)
