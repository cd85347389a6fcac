"""A stream as its operators see it: secured brokers, dead-letter topic, metrics, the tour."""

import json
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest
from kafka import KafkaProducer

from pubner import cli
from tests.support.commands import start_pubner
from tests.support.feeding import read_topic
from tests.support.services import Flink, Kafka, Security
from tests.support.streaming import Sender, make_topic


def stream(folder: Path, bootstrap: str, topic: str, *words: object) -> int:
    return cli.main(
        [
            "stream",
            f"--brokers={bootstrap}",
            f"--topic={topic}",
            f"--group={topic}",
            f"--output={folder / 'out'}",
            "--until-caught-up",
            *(str(word) for word in words),
        ]
    )


def rows(folder: Path, query: str) -> list[tuple[Any, ...]]:
    found = duckdb.sql(query.replace("OUT", str(folder / "out")))
    assert found is not None
    rows: list[tuple[Any, ...]] = found.fetchall()
    return rows


def wait_for(condition: Callable[[], bool], *, seconds: float = 150) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.5)


def secure_words(security: Security) -> list[str]:
    return [
        "--security-protocol=SASL_SSL",
        "--sasl-mechanism=SCRAM-SHA-512",
        f"--sasl-username={security.username}",
        f"--tls-ca-file={security.ca_file}",
    ]


def test_a_secured_broker_is_read(
    kafka: Kafka,
    secure_kafka: Security,
    checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    topic = "operations-secured"
    make_topic(kafka.bootstrap, topic, 2)
    sent = Sender(kafka.bootstrap).send(topic, 60, partitions=[0, 1])
    monkeypatch.setenv("PUBNER_SASL_PASSWORD", secure_kafka.password)
    words = [*secure_words(secure_kafka), f"--checkpoint={checkpoint}"]
    assert stream(tmp_path, secure_kafka.bootstrap, topic, *words) == 0
    [(found,)] = rows(
        tmp_path,
        "SELECT (SELECT count(*) FROM 'OUT/citations/*.parquet') + (SELECT count(*) FROM "
        "'OUT/dead_letters/*.parquet')",
    )
    assert found == len(sent)
    said = capsys.readouterr()
    assert secure_kafka.password not in said.out + said.err


def test_a_wrong_password_is_one_line_without_it(
    secure_kafka: Security,
    checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("PUBNER_SASL_PASSWORD", "not-the-password")
    words = [*secure_words(secure_kafka), f"--checkpoint={checkpoint}", "--kafka-timeout-seconds=5"]
    assert stream(tmp_path, secure_kafka.bootstrap, "operations-secured", *words) == 2
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1
    assert "SCRAM-SHA-512" in error
    assert "not-the-password" not in error


def test_dead_letters_also_go_to_the_topic_that_is_named(
    kafka: Kafka, checkpoint: Path, tmp_path: Path
) -> None:
    topic, dead_letters = "operations-poison", "operations-dead"
    for name in (topic, dead_letters):
        make_topic(kafka.bootstrap, name, 1)
    producer = KafkaProducer(bootstrap_servers=kafka.bootstrap)
    producer.send(topic, key=b"1", value=b"{poison", headers=[("trace", b"\x00x")])
    producer.send(topic, key=b"2", value=b'{"pmid": 2, "title": "Iron", "abstract": ""}')
    # With the headers that a dead letter gets, this one is over the broker's limit of a MiB.
    producer.send(topic, key=b"3", value=b"x" * 1_048_400)
    producer.send(topic, key=b"4", value=b"more poison")
    producer.close()
    words = (f"--checkpoint={checkpoint}", f"--dead-letter-topic={dead_letters}")
    assert stream(tmp_path, kafka.bootstrap, topic, *words) == 0
    dead_letter, long, last = read_topic(kafka.bootstrap, dead_letters)
    assert (long.key, long.value) == (b"3", b"")
    assert b"the output holds the bytes" in long.headers["pubner-letter-truncated"]
    assert (last.key, last.value) == (b"4", b"more poison")
    assert (dead_letter.key, dead_letter.value) == (b"1", b"{poison")
    assert dead_letter.headers["trace"] == b"\x00x"
    assert dead_letter.headers["pubner-letter-source"] == topic.encode()
    assert dead_letter.headers["pubner-letter-offset"] == b"0"
    assert dead_letter.headers["pubner-letter-stage"] == b"parse"
    assert b"JSON" in dead_letter.headers["pubner-letter-error"]
    found = rows(
        tmp_path, "SELECT key, octet_length(payload) FROM 'OUT/dead_letters/*.parquet' ORDER BY 1"
    )
    assert found == [(b"1", 7), (b"3", 1_048_400), (b"4", 11)]


def test_the_tour_from_the_sample_to_a_query(
    kafka: Kafka, checkpoint: Path, tmp_path: Path
) -> None:
    topic = "operations-tour"
    words = ["feed", f"--brokers={kafka.bootstrap}", f"--topic={topic}", "--create-topic"]
    words += ["--partitions=2", f"--dead-letters={tmp_path / 'letters'}"]
    assert cli.main(words) == 0
    assert stream(tmp_path, kafka.bootstrap, topic, f"--checkpoint={checkpoint}") == 0
    found = rows(
        tmp_path,
        "SELECT count(*) FROM 'OUT/mentions/*.parquet' m JOIN 'OUT/citations/*.parquet' c "
        'USING (source, partition, "offset") WHERE c.text[m.start + 1 : m."end"] != m.text',
    )
    assert found == [(0,)]
    [(citations, deleted)] = rows(
        tmp_path,
        "SELECT count(*), count(*) FILTER (status = 'deleted') FROM 'OUT/citations/*.parquet'",
    )
    assert citations == len(read_topic(kafka.bootstrap, topic))
    assert deleted > 0


def test_flink_s_own_reporter_shows_the_metrics(
    kafka: Kafka, flink: Flink, checkpoint: Path, tmp_path: Path
) -> None:
    topic = "operations-metrics"
    make_topic(kafka.bootstrap, topic, 1)
    Sender(kafka.bootstrap).send(topic, 200, partitions=[0])
    running = start_pubner(
        tmp_path / "run",
        *("stream", f"--brokers={kafka.bootstrap}", f"--topic={topic}", "--group=metrics"),
        *(f"--output={tmp_path / 'out'}", f"--checkpoint={checkpoint}", "--flush-seconds=1"),
        *("--runner=FlinkRunner", "--", "--checkpointing_interval=2000", *flink.options),
    )
    wanted = [
        "records",
        "citations",
        "dead_letters_parse",
        "batch_citations_count",
        "batch_word_pieces_sum",
        "inference_milliseconds_le_30000",
        "write_milliseconds_count",
        "consumer_lag_operations_metrics_0",
        "active_checkpoint",
        "commits",
    ]
    try:
        wait_for(lambda: not missing(flink.metrics(), wanted) or not running.is_alive)
        assert not missing(flink.metrics(), wanted)
    finally:
        running.send(signal.SIGTERM)
        done = running.finish()
    assert done.code == 0, done.err
    events = [json.loads(line)["event"] for line in done.err.splitlines() if line[:1] == "{"]
    assert "running" in events
    assert "stopped with a savepoint" in events


def missing(metrics: str, names: list[str]) -> list[str]:
    """Return the names of which the reporter shows no value."""
    shown = set(re.findall(r"^\w*_pubner_(\w+)\{", metrics, re.MULTILINE))
    return [name for name in names if not any(found.startswith(name) for found in shown)]
