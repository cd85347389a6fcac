"""`pubner stream` on every runner, a real broker: all of a topic in Parquet, each offset once."""

import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from kafka import KafkaProducer, TopicPartition

from tests.support.commands import Running, run_pubner, start_pubner
from tests.support.services import Flink, Kafka
from tests.support.stream_check import (
    Output,
    check_annotations,
    check_committed,
    check_stream,
    file_times,
    rows_in_place,
    whole_blocks,
)
from tests.support.stream_runs import (
    BLOCK_SIZE,
    DIRECT,
    FLUSH_SECONDS,
    Runner,
    Stream,
    flink_runner,
    resume_words,
)
from tests.support.streaming import (
    Sender,
    Sent,
    add_partitions,
    committed_offsets,
    delete_before,
    end_offsets,
    make_topic,
    read_committed,
)

TOPICS = ("stream-one", "stream.two")
PARTITIONS = 2
LATENCY_SECONDS = FLUSH_SECONDS + 5


@pytest.fixture(scope="module")
def filled(kafka: Kafka) -> list[Sent]:
    """Two topics with messages of all kinds; the ledger of both."""
    sender = Sender(kafka.bootstrap, seed=1)
    for topic in TOPICS:
        make_topic(kafka.bootstrap, topic, PARTITIONS)
        sent = sender.send(topic, 1200, partitions=range(PARTITIONS))
        seen = read_committed(kafka.bootstrap, topic)
        wanted = [(x.partition, x.offset, x.message.key, x.message.value) for x in sent]
        assert sorted(wanted, key=lambda row: row[:2]) == seen
    ends = end_offsets(kafka.bootstrap, TOPICS)
    assert sum(ends.values()) > len(sender.ledger) + 50  # transactions leave gaps
    return sender.ledger


@pytest.fixture(scope="module")
def prism_runner(prism: str) -> Runner:
    """Prism."""
    return Runner("PrismRunner", (f"--prism_location={prism}",))


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runner]:
    """Flink inside the job server, without a cluster."""
    server = Flink(tmp_path_factory.mktemp("embedded"))
    try:
        server.up("--embedded")
        yield Runner("FlinkRunner", (*server.options, "--checkpointing_interval=2000"))
    finally:
        server.down()


@pytest.fixture(scope="module")
def direct_rows(
    kafka: Kafka, filled: list[Sent], checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> Output:
    """What the DirectRunner makes of the topics; a second run over them changes nothing."""
    stream = Stream(
        tmp_path_factory.mktemp("direct"), kafka.bootstrap, TOPICS, checkpoint, group="direct"
    )
    summary = stream.catch_up(DIRECT)
    found = check_stream(stream.output, filled, block_size=BLOCK_SIZE)
    check_committed(kafka.bootstrap, stream.group, TOPICS)
    check_annotations(found, checkpoint)
    assert summary["caught_up"]
    assert summary["records"] == len(filled)
    assert summary["dead_letters"] == sum(1 for x in filled if x.message.status is None) > 50
    before = file_times(stream.output)
    again = stream.catch_up(DIRECT)
    assert file_times(stream.output) == before
    assert (again["caught_up"], again["records"], again["parts_written"]) == (True, 0, 0)
    return found


def test_the_direct_runner_catches_up(direct_rows: Output, filled: list[Sent]) -> None:
    statuses = [x.message.status for x in filled]
    rows = direct_rows.citations.values()
    for status in ("annotated", "deleted", "no_text"):
        assert sum(row["status"] == status for row in rows) == statuses.count(status) > 10


def test_the_direct_runner_never_runs_without_end(
    kafka: Kafka, filled: list[Sent], checkpoint: Path, tmp_path: Path
) -> None:
    stream = Stream(tmp_path, kafka.bootstrap, TOPICS, checkpoint)
    done = run_pubner(tmp_path / "log", *stream.words(DIRECT))
    assert done.code == 2
    assert "--until-caught-up" in done.one_line
    assert not stream.output.exists()


def test_killed_while_it_catches_up(kafka: Kafka, checkpoint: Path, tmp_path: Path) -> None:
    """The next run commits the blocks that are written, and writes only the others."""
    topic, sender = "killed-stream", Sender(kafka.bootstrap)
    make_topic(kafka.bootstrap, topic, PARTITIONS)
    sender.send(topic, 6000, partitions=range(PARTITIONS))
    stream = Stream(tmp_path, kafka.bootstrap, (topic,), checkpoint, block_size=50, group=topic)
    running = stream.start(DIRECT, "--until-caught-up")
    stream.wait_for_rows(300, running)
    running.send(signal.SIGKILL)
    assert running.finish().code == -signal.SIGKILL
    before = whole_blocks(stream.output)
    assert before
    assert rows_in_place(stream.output) < 6000
    stream.catch_up(DIRECT)
    after = file_times(stream.output)
    assert {name: after[name] for name in before} == before
    check_stream(stream.output, sender.ledger, block_size=50)
    check_committed(kafka.bootstrap, topic, [topic])


def test_prism_catches_up(
    kafka: Kafka,
    filled: list[Sent],
    checkpoint: Path,
    tmp_path: Path,
    direct_rows: Output,
    prism_runner: Runner,
) -> None:
    stream = Stream(tmp_path, kafka.bootstrap, TOPICS, checkpoint, group="prism")
    assert stream.catch_up(prism_runner)["caught_up"]
    found = check_stream(stream.output, filled, block_size=BLOCK_SIZE)
    assert found.rows() == direct_rows.rows()
    check_committed(kafka.bootstrap, stream.group, TOPICS)


@pytest.mark.parametrize("parallelism", [1, 2])
def test_flink_catches_up(
    kafka: Kafka,
    filled: list[Sent],
    checkpoint: Path,
    tmp_path: Path,
    direct_rows: Output,
    flink: Flink,
    parallelism: int,
) -> None:
    group = f"flink-{parallelism}"
    stream = Stream(tmp_path, kafka.bootstrap, TOPICS, checkpoint, group=group)
    assert stream.catch_up(flink_runner(flink).parallel(parallelism))["caught_up"]
    found = check_stream(stream.output, filled, block_size=BLOCK_SIZE)
    assert found.rows() == direct_rows.rows()
    check_committed(kafka.bootstrap, stream.group, TOPICS)


def test_prism_without_end(
    kafka: Kafka, checkpoint: Path, tmp_path: Path, prism_runner: Runner
) -> None:
    """Backlog, single messages, new partitions, a request to end, and another run after it."""
    topic, sender = "endless-prism", Sender(kafka.bootstrap)
    stream = Stream(tmp_path, kafka.bootstrap, (topic,), checkpoint, group=topic)
    _run_without_end(stream, sender, prism_runner, partitions=4)
    _check_drained(stream, sender)
    running = stream.start(prism_runner)
    sender.send(topic, 200, partitions=range(4))
    stream.wait_for_rows(len(sender.ledger), running)
    stream.drain(running)
    found = check_stream(stream.output, sender.ledger, block_size=BLOCK_SIZE)
    check_annotations(found, checkpoint)
    check_committed(kafka.bootstrap, topic, [topic])


def test_flink_without_end(kafka: Kafka, checkpoint: Path, tmp_path: Path, flink: Flink) -> None:
    """The same, with the command that it names to go on from the savepoint."""
    topic, sender = "endless-flink", Sender(kafka.bootstrap)
    stream = Stream(tmp_path, kafka.bootstrap, (topic,), checkpoint, group=topic)
    resume = _run_without_end(stream, sender, flink_runner(flink).parallel(2), partitions=2)
    running = start_pubner(tmp_path / "log", *resume)
    sender.send(topic, 200, partitions=range(2))
    stream.wait_for_rows(len(sender.ledger), running)
    assert len(stream.drain(running)["resume"]) == len(" ".join(["pubner", *resume]))
    found = check_stream(stream.output, sender.ledger, block_size=BLOCK_SIZE)
    check_annotations(found, checkpoint)
    check_committed(kafka.bootstrap, topic, [topic])


def test_embedded_flink_drains(
    kafka: Kafka, checkpoint: Path, tmp_path: Path, embedded: Runner
) -> None:
    topic, sender = "embedded", Sender(kafka.bootstrap)
    make_topic(kafka.bootstrap, topic, 2)
    sender.send(topic, 700, partitions=range(2))
    stream = Stream(tmp_path, kafka.bootstrap, (topic,), checkpoint, group=topic)
    running = stream.start(embedded)
    stream.wait_for_rows(600, running)
    sender.send(topic, 1000, partitions=range(2))
    assert stream.drain(running)["savepoint"] is None
    _check_drained(stream, sender)


def test_retention_takes_half_a_block_that_is_in_place(
    kafka: Kafka, checkpoint: Path, tmp_path: Path, prism_runner: Runner
) -> None:
    """A run without state begins in the block's middle, and the block keeps its first half."""
    topic, sender = "retention", Sender(kafka.bootstrap)
    make_topic(kafka.bootstrap, topic, 1)
    sender.send(topic, 700, partitions=[0])
    stream = Stream(tmp_path, kafka.bootstrap, (topic,), checkpoint, group=topic)
    stream.catch_up(DIRECT)
    [committed] = committed_offsets(kafka.bootstrap, topic, [topic]).values()
    assert committed is not None
    assert committed % BLOCK_SIZE > 150
    sender.send(topic, 300, partitions=[0])
    middle = committed - 100
    delete_before(kafka.bootstrap, {TopicPartition(topic, 0): middle})
    for runner in (prism_runner, DIRECT):
        summary = stream.catch_up(runner)
        found = check_stream(stream.output, sender.ledger, block_size=BLOCK_SIZE)
        check_committed(kafka.bootstrap, topic, [topic])
        # Only what retention left was there to be read.
        left = [x for x in sender.ledger if x.offset >= middle]
        assert summary["records"] in (len(left), 0)
    check_annotations(found, checkpoint)


def test_an_open_transaction_ends_what_is_read(
    kafka: Kafka, checkpoint: Path, tmp_path: Path
) -> None:
    topic, sender = "open", Sender(kafka.bootstrap)
    make_topic(kafka.bootstrap, topic, 1)
    sender.send(topic, 50, partitions=[0])
    producer = KafkaProducer(bootstrap_servers=kafka.bootstrap, transactional_id=topic)
    producer.init_transactions()
    producer.begin_transaction()
    waiting = sender.send_one(producer, topic, 0)
    plain = KafkaProducer(bootstrap_servers=kafka.bootstrap)
    behind = sender.send_one(plain, topic, 0)
    stream = Stream(tmp_path, kafka.bootstrap, (topic,), checkpoint, group=topic)
    stream.catch_up(DIRECT)
    decided = [x for x in sender.ledger if x not in (waiting, behind)]
    check_stream(stream.output, decided, block_size=BLOCK_SIZE)
    producer.commit_transaction()
    producer.close()
    plain.close()
    stream.catch_up(DIRECT)
    check_stream(stream.output, sender.ledger, block_size=BLOCK_SIZE)
    check_committed(kafka.bootstrap, topic, [topic])


def _check_drained(stream: Stream, sender: Sender) -> None:
    """Check that what was read is written and committed, and that nothing more is written."""
    [topic] = stream.topics
    committed = committed_offsets(stream.bootstrap, stream.group, [topic])
    places = {number: committed[TopicPartition(topic, number)] or 0 for _, number in committed}
    read = [x for x in sender.ledger if x.offset < places[x.partition]]
    assert len(read) > len(sender.ledger) / 3
    check_stream(stream.output, read, block_size=BLOCK_SIZE)


def _run_without_end(
    stream: Stream, sender: Sender, runner: Runner, *, partitions: int
) -> list[str]:
    """Start a stream, send it one thing after another, and end it; return how to resume it.

    While it runs, the topic, of two partitions, gets as many as `partitions`.
    """
    [topic] = stream.topics
    make_topic(stream.bootstrap, topic, 2)
    sender.send(topic, 1000, partitions=range(2))
    running = stream.start(runner)
    stream.wait_for_rows(len(sender.ledger), running)
    waited = _send_single_messages(stream, sender, running)
    assert max(waited) < LATENCY_SECONDS, waited
    if partitions > 2:
        add_partitions(stream.bootstrap, topic, partitions)
        sender.send(topic, 400, partitions=range(partitions))
        stream.wait_for_rows(len(sender.ledger), running)
    # Of these, some are in flight at the end, and some are not read.
    sender.send(topic, 1000, partitions=range(partitions))
    summary = stream.drain(running)
    assert not summary["caught_up"]
    return list(resume_words(summary)) if "resume" in summary else []


def _send_single_messages(stream: Stream, sender: Sender, running: Running) -> list[float]:
    """Send messages one by one to an idle stream; return how long each was not in Parquet."""
    producer = KafkaProducer(bootstrap_servers=stream.bootstrap)
    pauses = random.Random(0)
    waited = []
    for number in range(4):
        time.sleep(2 * pauses.random())
        begun = time.monotonic()
        sender.send_one(producer, stream.topics[0], number % 2)
        stream.wait_for_rows(len(sender.ledger), running)
        waited.append(time.monotonic() - begun)
    producer.close()
    return waited
