"""`pubner feed` with the real broker."""

import hashlib
import json
import random
import signal
import string
import time
from pathlib import Path

import pytest

from pipelines.feed.state import load_state
from pipelines.kafka.access import KafkaAccess
from pipelines.kafka.messages import decode_record
from pipelines.kafka.topics import create_topic
from pipelines.sample import sample_path
from pubner import cli
from schemas.citation_message import to_message
from schemas.records import ALL_VERSIONS, Citation, Section
from tests.support.commands import Running, run_pubner, start_pubner
from tests.support.feeding import (
    assert_once_and_in_order,
    dead_letters,
    feed,
    feed_words,
    read_topic,
    write_messages,
)
from tests.support.services import Kafka
from worker.readers.formats import Format, ReadRecord, read_records

MANY = 25_000


def acknowledged(folder: Path, topic: str) -> int:
    state = load_state(folder / topic / "feed-state.json")
    return 0 if state is None else max((x.acknowledged for x in state.files.values()), default=0)


def wait_until_under_way(running: Running, folder: Path, topic: str) -> None:
    while running.is_alive and not acknowledged(folder, topic):
        time.sleep(0.02)
    assert running.is_alive


def test_citations_and_tombstones(tmp_path: Path, kafka: Kafka) -> None:
    with sample_path().open("rb") as stream:
        items = list(read_records(stream, Format.PUBMED_XML))
    found = feed(tmp_path, kafka.bootstrap, "sample", "--create-topic", "--partitions=3")
    assert (found["citations"], found["tombstones"], found["dead_letters"]) == (28, 2, 0)
    assert found["topic_created"]
    assert found["partitions"] == 3
    sent = read_topic(kafka.bootstrap, "sample")
    assert_once_and_in_order(sent, sample_path().name, len(items))
    by_record = {x.record[1]: x for x in sent}
    for item in items:
        assert isinstance(item, ReadRecord)
        message = by_record[item.offset]
        assert message.key == str(item.citation.pmid).encode()
        assert decode_record(message.key, message.value) == item.citation
        assert message.headers["pubner-schema-version"] == b"1"
    assert [path.name for path in (tmp_path / "sample").iterdir() if path.name[0] != "."] == [
        "pubner.json"
    ]


def test_a_deletion_keeps_its_version(tmp_path: Path, kafka: Kafka) -> None:
    path = tmp_path / "a.xml"
    listed = b"<PMID Version='1'>5</PMID><PMID Version='2'>5</PMID><PMID>6</PMID>"
    path.write_bytes(
        b"<PubmedArticleSet><DeleteCitation>%b</DeleteCitation></PubmedArticleSet>" % listed
    )
    found = feed(tmp_path, kafka.bootstrap, "versions", path, "--create-topic")
    assert (found["citations"], found["tombstones"]) == (0, 3)
    first, second, every = read_topic(kafka.bootstrap, "versions")
    for version, message in enumerate((first, second), start=1):
        assert json.loads(message.value or b"") == {
            "schema_version": 1,
            "pmid": 5,
            "pmid_version": version,
            "deleted": True,
        }
    assert (every.key, every.value) == (b"6", None)
    assert decode_record(every.key, None) == Citation(6, ALL_VERSIONS, deleted=True)


def test_what_came_to_its_end_is_sent_again(tmp_path: Path, kafka: Kafka) -> None:
    path = write_messages(tmp_path / "a.jsonl", 10)
    for _ in range(2):
        found = feed(tmp_path, kafka.bootstrap, "twice", path, "--create-topic")
        assert (found["citations"], found["skipped_records"]) == (10, 0)
    assert len(read_topic(kafka.bootstrap, "twice")) == 20


def test_the_topic_must_be_as_asked(
    tmp_path: Path, kafka: Kafka, capsys: pytest.CaptureFixture[str]
) -> None:
    create_topic(KafkaAccess((kafka.bootstrap,)), "three", partitions=3)
    for words, said in (
        (["three", "--create-topic", "--partitions=4"], "exists with 3 partitions, and 4"),
        (["thre"], "has no topic 'thre'; known are three"),
        (["many", "--create-topic", "--replication=9"], "refuses to create topic 'many'"),
    ):
        assert cli.main(feed_words(tmp_path, kafka.bootstrap, *words)) == 2
        [line] = capsys.readouterr().err.splitlines()
        assert said in line


def test_what_cannot_be_parsed_or_sent_is_a_dead_letter_once(tmp_path: Path, kafka: Kafka) -> None:
    access = KafkaAccess((kafka.bootstrap,))
    create_topic(access, "letters", partitions=2, configs={"max.message.bytes": "20000"})
    noise = "".join(random.Random(1).choices(string.ascii_letters, k=60_000))
    large = Citation(2, title="noise", abstract=(Section(noise),))
    lines = [
        to_message(Citation(1, title="one")),
        to_message(large),
        b'{"pmid": "three"}',
        to_message(Citation(4, title="squeezable", abstract=(Section("a" * 60_000),))),
        to_message(Citation(5, title="five")),
    ]
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"\n".join(lines))
    refused = write_messages(tmp_path / "refused.jsonl", 3)
    (tmp_path / "refused.jsonl.md5").write_text(hashlib.md5(b"another").hexdigest())
    for _ in range(2):
        found = feed(tmp_path, kafka.bootstrap, "letters", path, refused)
        assert (found["citations"], found["dead_letters"]) == (3, 3)
        assert found["dead_letters_by_stage"] == {"parse": 1, "read": 1, "write": 1}
        assert found["refused_files"] == 1
        rows = dead_letters(tmp_path / "letters")
        places = [(row["source"], row["offset"], row["stage"]) for row in rows]
        assert places == [
            ("a.jsonl", 1, "write"),
            ("a.jsonl", 2, "parse"),
            ("refused.jsonl", 0, "read"),
        ]
        assert decode_record(rows[0]["key"], rows[0]["payload"]) == large
        assert "allows 20,000 bytes" in rows[0]["error"]
        assert dict(rows[0]["headers"])["pubner-offset"] == b"1"
        assert rows[1]["payload"] == lines[2]
    sent = read_topic(kafka.bootstrap, "letters")
    assert sorted(int(x.key) for x in sent) == [1, 1, 4, 4, 5, 5]
    path.write_bytes(lines[0])
    feed(tmp_path, kafka.bootstrap, "letters", path)
    assert [row["source"] for row in dead_letters(tmp_path / "letters")] == ["refused.jsonl"]


def test_killed_and_started_again(tmp_path: Path, kafka: Kafka) -> None:
    """Each record is in the topic once, in order, though the run was killed under load, twice."""
    path = write_messages(tmp_path / "a.jsonl", MANY)
    first = tmp_path / "first.jsonl"
    first.write_bytes(b"broken\n" + to_message(Citation(1, title="one")))
    words = feed_words(tmp_path, kafka.bootstrap, "killed", first, path, "--create-topic")
    before = 0
    for _ in range(2):
        running = start_pubner(tmp_path / "log", *words, "--partitions=4")
        while running.is_alive and acknowledged(tmp_path, "killed") <= before:
            time.sleep(0.01)
        running.send(signal.SIGKILL)
        assert running.finish().code == -signal.SIGKILL
        before = acknowledged(tmp_path, "killed")
        assert before
    found = feed(tmp_path, kafka.bootstrap, "killed", first, path)
    assert found["skipped_files"] == 1
    assert found["skipped_records"] >= before
    sent = read_topic(kafka.bootstrap, "killed")
    assert_once_and_in_order([x for x in sent if x.record[0] == "a.jsonl"], "a.jsonl", MANY)
    assert [x.record for x in sent if x.record[0] != "a.jsonl"] == [("first.jsonl", 1)]
    assert [row["offset"] for row in dead_letters(tmp_path / "killed")] == [0]
    assert load_state(tmp_path / "killed" / "feed-state.json") is None


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_stopped_and_started_again(
    tmp_path: Path, kafka: Kafka, number: signal.Signals, code: int
) -> None:
    topic = f"stopped-{number.name}"
    path = write_messages(tmp_path / "a.jsonl", MANY)
    words = feed_words(tmp_path, kafka.bootstrap, topic, path, "--create-topic")
    running = start_pubner(tmp_path / "log", *words)
    wait_until_under_way(running, tmp_path, topic)
    running.send(number)
    finished = running.finish()
    assert finished.code == code
    assert "run the same command again to resume" in finished.one_line
    assert len(read_topic(kafka.bootstrap, topic)) == acknowledged(tmp_path, topic)
    feed(tmp_path, kafka.bootstrap, topic, path)
    assert_once_and_in_order(read_topic(kafka.bootstrap, topic), "a.jsonl", MANY)


def test_asked_for_again_after_a_broken_run(tmp_path: Path, kafka: Kafka) -> None:
    """A file that an interrupted run had finished is sent again where it alone is asked for."""
    path, small = (
        write_messages(tmp_path / "a.jsonl", MANY),
        write_messages(tmp_path / "b.jsonl", 5),
    )
    words = feed_words(tmp_path, kafka.bootstrap, "asked", small, path, "--create-topic")
    running = start_pubner(tmp_path / "log", *words)
    while running.is_alive and acknowledged(tmp_path, "asked") <= 5:
        time.sleep(0.01)
    running.send(signal.SIGKILL)
    running.finish()
    assert feed(tmp_path, kafka.bootstrap, "asked", small)["citations"] == 5
    found = feed(tmp_path, kafka.bootstrap, "asked", small, "--again")
    assert (found["citations"], found["skipped_files"]) == (5, 0)


def test_the_broker_goes_and_comes_back(tmp_path: Path, kafka: Kafka) -> None:
    path = write_messages(tmp_path / "a.jsonl", MANY)
    words = feed_words(tmp_path, kafka.bootstrap, "comes-back", path, "--create-topic")
    running = start_pubner(tmp_path / "log", *words, "--partitions=4")
    try:
        wait_until_under_way(running, tmp_path, "comes-back")
        kafka.kill()
    finally:
        kafka.restart()
    finished = running.finish()
    assert finished.code == 0, finished.err
    assert_once_and_in_order(read_topic(kafka.bootstrap, "comes-back"), "a.jsonl", MANY)


def test_the_broker_goes_for_good(tmp_path: Path, kafka: Kafka) -> None:
    path = write_messages(tmp_path / "a.jsonl", MANY)
    words = feed_words(tmp_path, kafka.bootstrap, "gone", path, "--create-topic", "--partitions=4")
    running = start_pubner(tmp_path / "log", *words, "--kafka-timeout-seconds=2")
    try:
        wait_until_under_way(running, tmp_path, "gone")
        kafka.kill()
        finished = running.finish()
        assert finished.code == 2
        assert f"Kafka at {kafka.bootstrap}: cannot send to topic 'gone'" in finished.one_line
        assert acknowledged(tmp_path, "gone")
        unreachable = run_pubner(tmp_path / "log", *words, "--kafka-timeout-seconds=1")
        assert unreachable.code == 2
        assert "Connection refused" in unreachable.one_line
    finally:
        kafka.restart()
    feed(tmp_path, kafka.bootstrap, "gone", path)
    assert_once_and_in_order(read_topic(kafka.bootstrap, "gone"), "a.jsonl", MANY)


def test_the_summary_is_json_on_standard_output(
    tmp_path: Path, kafka: Kafka, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_messages(tmp_path / "a.jsonl", 3)
    words = feed_words(tmp_path, kafka.bootstrap, "json", path, "--create-topic", "--json=-")
    assert cli.main(words) == 0
    out = capsys.readouterr().out
    assert json.loads(out)["citations"] == 3


@pytest.mark.parametrize("limit", [None, 1_000_000])
def test_a_limit_that_is_not_known_or_was_lowered(
    tmp_path: Path, kafka: Kafka, monkeypatch: pytest.MonkeyPatch, limit: int | None
) -> None:
    """The messages that fall together with one that is too large are sent, in order."""
    topic = f"unknown-{limit}"
    access = KafkaAccess((kafka.bootstrap,))
    create_topic(access, topic, partitions=2, configs={"max.message.bytes": "20000"})
    monkeypatch.setattr("pipelines.feed.run.max_message_bytes", lambda *_: limit)
    path = write_messages(tmp_path / "a.jsonl", 300, characters=2000)
    lines = path.read_bytes().splitlines()
    noise = "".join(random.Random(1).choices(string.ascii_letters, k=60_000))
    for index in (100, 101, 250):
        lines[index] = to_message(Citation(1, title=noise))
    path.write_bytes(b"\n".join(lines))
    found = feed(tmp_path, kafka.bootstrap, topic, path)
    assert (found["citations"], found["dead_letters"]) == (297, 3)
    assert [row["offset"] for row in dead_letters(tmp_path / topic)] == [100, 101, 250]
    places = [(x.partition, x.record[1]) for x in read_topic(kafka.bootstrap, topic)]
    assert places == sorted(places)
    assert len(set(places)) == 297
