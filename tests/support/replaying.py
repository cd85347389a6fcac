"""Replaying dead letters: topics to read and to send to, and what is sent."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaProducer

from pipelines.kafka import messages as decoding
from pipelines.kafka.access import KafkaAccess
from pipelines.kafka.topics import create_topic
from pubner import cli
from schemas.citation_message import to_message
from schemas.errors import RecordError
from schemas.records import Citation, Section
from tests.support.dead_letters import run_dead_letters
from tests.support.feeding import Sent
from tests.support.services import Kafka
from worker.readers.jsonl import parse_message

MENDED = b'{"pmid": 7, "title": "BRCA1 and breast cancer", "abstract": ""}'


def good(pmid: int) -> bytes:
    """Return a whole citation as a message."""
    return to_message(Citation(pmid, title=f"Gene {pmid}", abstract=(Section("of asthma"),)))


def send(kafka: Kafka, topic: str, messages: Sequence[tuple[bytes | None, bytes | None]]) -> None:
    """Send messages, a key and a value each, to partition 0, with a header of their own."""
    producer = KafkaProducer(bootstrap_servers=kafka.bootstrap, acks="all")
    for key, value in messages:
        producer.send(topic, key=key, value=value, headers=[("trace", b"\x01")], partition=0)
    producer.close()


def stream(kafka: Kafka, topic: str, output: Path, checkpoint: Path) -> dict[str, Any]:
    """Annotate a topic until caught up, in blocks of five; return the summary."""
    file = output.parent / "stream.json"
    words = [f"--brokers={kafka.bootstrap}", f"--topic={topic}", f"--group=g-{topic}"]
    words += [f"--output={output}", f"--checkpoint={checkpoint}", "--threads=1"]
    words += ["--block-size=5", "--until-caught-up", f"--json={file}"]
    assert cli.main(["stream", *words]) == 0
    found: dict[str, Any] = json.loads(file.read_text())
    return found


def replayed_from(sent: Sequence[Sent]) -> list[str]:
    """Return the dead letters that messages say they were, in order."""
    return sorted(
        x.headers["pubner-replayed-from"].decode()
        for x in sent
        if "pubner-replayed-from" in x.headers
    )


def replay(kafka: Kafka, output: Path, topic: str, *words: str) -> dict[str, Any]:
    """Replay an output's dead letters to a topic; return the summary."""
    return run_dead_letters(
        "replay", output, f"--topic={topic}", f"--brokers={kafka.bootstrap}", *words
    )


def fresh(kafka: Kafka, topic: str, partitions: int = 1) -> str:
    """Make a topic of this test's own, and return its name."""
    create_topic(KafkaAccess((kafka.bootstrap,)), topic, partitions=partitions)
    return topic


def break_json(patch: pytest.MonkeyPatch, pmid: int) -> None:
    """Make the parser of messages refuse one PMID."""
    parse = parse_message

    def broken(data: bytes) -> Citation:
        citation = parse(data)
        if citation.pmid == pmid:
            raise RecordError("a bug of pubner")
        return citation

    patch.setattr(decoding, "parse_message", broken)
