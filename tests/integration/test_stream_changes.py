"""What changes under a stream: its topic, its group, the log's start, the output."""

import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.dataset as ds
import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.structs import OffsetAndMetadata
from psutil import Process

from pubner import cli
from tests.support.commands import Running, start_pubner
from tests.support.services import Kafka
from tests.support.stream_check import rows_in_place
from tests.support.stream_runs import wait_until
from tests.support.streaming import administrating, committed_offsets, delete_before, make_topic


def send(kafka: Kafka, topic: str, pmids: range) -> None:
    producer = KafkaProducer(bootstrap_servers=kafka.bootstrap, acks="all")
    for pmid in pmids:
        value = json.dumps({"pmid": pmid, "title": "Cystic fibrosis.", "abstract": ""}).encode()
        producer.send(topic, key=b"%d" % pmid, value=value, partition=0)
    producer.flush()
    producer.close()


def words(kafka: Kafka, output: Path, topic: str, checkpoint: Path, *more: str) -> list[str]:
    return [
        *("stream", f"--brokers={kafka.bootstrap}", f"--topic={topic}", f"--group={topic}"),
        *(f"--output={output}", f"--checkpoint={checkpoint}", "--block-size=100"),
        *(f"--json={output.with_suffix('.json')}", *more),
    ]


def catch_up(kafka: Kafka, output: Path, topic: str, checkpoint: Path) -> dict[str, Any]:
    assert cli.main(words(kafka, output, topic, checkpoint, "--until-caught-up")) == 0
    summary: dict[str, Any] = json.loads(output.with_suffix(".json").read_text())
    return summary


def pmids(output: Path) -> set[int]:
    return set(ds.dataset(output / "citations", format="parquet").to_table()["pmid"].to_pylist())


def one_line(running: Running) -> str:
    """Return the one line that a run ended with; its log is JSON."""
    done = running.finish()
    assert done.code == 2, done.err
    [line] = [x for x in done.err.splitlines() if not x.startswith("{")]
    return line


@pytest.fixture
def endless(
    kafka: Kafka, prism: str, checkpoint: Path, tmp_path: Path
) -> Iterator[dict[str, Running]]:
    """Streams without end that a test starts; none outlives it."""
    running: dict[str, Running] = {}
    yield running
    for one in running.values():
        if one.is_alive:
            one.send(signal.SIGKILL)
        one.finish()


def start(
    kafka: Kafka, prism: str, checkpoint: Path, folder: Path, topic: str, rows: int
) -> Running:
    """Start a stream without end; return it once that many rows are written and committed."""
    options = ("--flush-seconds=1", "--runner=PrismRunner", "--", f"--prism_location={prism}")
    running = start_pubner(
        folder / "log", *words(kafka, folder / "out", topic, checkpoint, *options)
    )
    wait_until(lambda: rows_in_place(folder / "out") >= rows, running)
    place = TopicPartition(topic, 0)
    wait_until(lambda: committed_offsets(kafka.bootstrap, topic, [topic])[place] == rows, running)
    return running


def test_a_topic_made_anew_while_a_stream_is_paused_is_not_mixed_in(
    kafka: Kafka, prism: str, checkpoint: Path, tmp_path: Path, endless: dict[str, Running]
) -> None:
    topic = "changes-again"
    make_topic(kafka.bootstrap, topic, 1)
    send(kafka, topic, range(1, 101))
    running = endless["it"] = start(kafka, prism, checkpoint, tmp_path, topic, 100)
    everything = [Process(running.pid), *Process(running.pid).children(recursive=True)]
    for process in everything:
        process.suspend()
    with administrating(kafka.bootstrap) as admin:
        admin.delete_topics([topic])
        time.sleep(3)
    make_topic(kafka.bootstrap, topic, 1)
    send(kafka, topic, range(5001, 5301))
    for process in everything:
        process.resume()
    line = one_line(running)
    assert "another one than when the run began" in line or "truncated or recreated" in line
    assert topic in line
    assert pmids(tmp_path / "out") == set(range(1, 101))


def test_a_group_that_is_deleted_ends_the_run(
    kafka: Kafka, prism: str, checkpoint: Path, tmp_path: Path, endless: dict[str, Running]
) -> None:
    topic = "changes-group"
    make_topic(kafka.bootstrap, topic, 1)
    send(kafka, topic, range(1, 11))
    running = endless["it"] = start(kafka, prism, checkpoint, tmp_path, topic, 10)
    with administrating(kafka.bootstrap) as admin:
        admin.delete_groups([topic])
    send(kafka, topic, range(11, 21))
    line = one_line(running)
    assert f"group '{topic}' was deleted or reset" in line
    assert committed_offsets(kafka.bootstrap, topic, [topic]) == {TopicPartition(topic, 0): None}


def test_another_member_of_the_group_ends_the_run_with_advice(
    kafka: Kafka,
    prism: str,
    checkpoint: Path,
    tmp_path: Path,
    endless: dict[str, Running],
    capsys: pytest.CaptureFixture[str],
) -> None:
    topic = "changes-member"
    make_topic(kafka.bootstrap, topic, 1)
    send(kafka, topic, range(1, 11))
    running = endless["it"] = start(kafka, prism, checkpoint, tmp_path, topic, 10)
    member = KafkaConsumer(
        topic, bootstrap_servers=kafka.bootstrap, group_id=topic, enable_auto_commit=False
    )
    try:
        while not member.assignment():
            member.poll(timeout_ms=500)
        send(kafka, topic, range(11, 21))
        line = one_line(running)
        assert "members" in line
        assert "another --group" in line
        refused = words(kafka, tmp_path / "out", topic, checkpoint, "--until-caught-up")
        capsys.readouterr()
        assert cli.main(refused) == 2
        said = capsys.readouterr().err
        assert f"group '{topic}' has members (kafka-python" in said
        assert len(said.splitlines()) == 1
    finally:
        member.close()


def test_what_retention_removed_between_two_runs_is_logged_and_counted(
    kafka: Kafka, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    topic = "changes-retention"
    make_topic(kafka.bootstrap, topic, 1)
    send(kafka, topic, range(1, 11))
    assert catch_up(kafka, tmp_path / "out", topic, checkpoint)["offsets_removed"] == 0
    send(kafka, topic, range(11, 31))
    delete_before(kafka.bootstrap, {TopicPartition(topic, 0): 25})
    capsys.readouterr()
    assert catch_up(kafka, tmp_path / "out", topic, checkpoint)["offsets_removed"] == 15
    said = capsys.readouterr()
    [event] = [x for x in map(json.loads, said.err.splitlines()) if "removed" in x["event"]]
    assert (event["topic"], event["offsets"], event["offsets_removed"]) == (topic, "10 to 24", 15)
    assert "offsets removed" in said.out
    assert pmids(tmp_path / "out") == {*range(1, 11), *range(26, 31)}


def test_what_another_output_of_the_group_holds_is_said_to_be_missing(
    kafka: Kafka, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    topic = "changes-output"
    make_topic(kafka.bootstrap, topic, 1)
    one, other = tmp_path / "one", tmp_path / "other"
    send(kafka, topic, range(1, 251))
    assert catch_up(kafka, one, topic, checkpoint)["missing"] == []
    send(kafka, topic, range(251, 261))
    capsys.readouterr()
    gap = {
        "topic": topic,
        "partition": 0,
        "begin": 0,
        "end": 200,
        "group": topic,
        "committed": 250,
    }
    assert catch_up(kafka, other, topic, checkpoint)["missing"] == [gap]
    said = capsys.readouterr()
    [event] = [x for x in map(json.loads, said.err.splitlines()) if "another output" in x["event"]]
    assert (event["level"], event["group_stands_at"], event["missing"]) == (
        "warning",
        250,
        "0 to 199",
    )
    assert f"{topic}/0 0 to 199" in said.out
    assert json.loads((other / "pubner.json").read_text())["missing"] == [gap]
    assert pmids(other) == set(range(201, 261))
    assert "lacks" not in capsys.readouterr().err
    # Back to the first: it lacks what the second got, from where its own rows end.
    send(kafka, topic, range(261, 421))
    assert catch_up(kafka, other, topic, checkpoint)["missing"] == [gap]
    assert "lacks" not in capsys.readouterr().err
    send(kafka, topic, range(421, 431))
    [later] = catch_up(kafka, one, topic, checkpoint)["missing"]
    assert (later["begin"], later["end"], later["committed"]) == (250, 400, 420)
    # Once the group is set back, nothing is missing.
    client = KafkaConsumer(bootstrap_servers=kafka.bootstrap, group_id=topic)
    place = TopicPartition(topic, 0)
    client.assign([place])
    client.commit({place: OffsetAndMetadata(0, "", -1)})
    client.close()
    assert catch_up(kafka, one, topic, checkpoint)["missing"] == []
    assert pmids(one) == set(range(1, 431))
