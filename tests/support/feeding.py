"""Runs of `pubner feed`, and what a topic holds after them."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from kafka import TopicPartition

from pipelines.kafka.access import KafkaAccess, consumer
from pipelines.kafka.topics import describe, end_offsets
from pubner import cli
from schemas.citation_message import to_message
from schemas.records import Citation, Section

_POLL_MS = 200


@dataclass(frozen=True)
class Sent:
    """A message of a topic: where it lies, and what it is."""

    partition: int
    offset: int
    key: bytes
    value: bytes | None
    headers: dict[str, bytes]

    @property
    def record(self) -> tuple[str, int]:
        """The file and the index of the record that was sent."""
        return self.headers["pubner-source"].decode(), int(self.headers["pubner-offset"])


def feed(folder: Path, bootstrap: str, topic: str, *words: object) -> dict[str, Any]:
    """Feed in this process, with dead letters and state in `folder`; return the summary."""
    summary = folder / f"{topic}.json"
    assert cli.main([*feed_words(folder, bootstrap, topic, *words), f"--json={summary}"]) == 0
    found: dict[str, Any] = json.loads(summary.read_text())
    return found


def feed_words(folder: Path, bootstrap: str, topic: str, *words: object) -> list[str]:
    """Return the words of a feed."""
    return [
        "feed",
        *(str(word) for word in words),
        f"--brokers={bootstrap}",
        f"--topic={topic}",
        f"--dead-letters={folder / topic}",
    ]


def read_topic(bootstrap: str, topic: str) -> list[Sent]:
    """Return the messages of a topic, by partition and offset."""
    access = KafkaAccess((bootstrap,))
    numbers = describe(access, [topic]).topics[topic].partitions
    partitions = [TopicPartition(topic, number) for number in numbers]
    client = consumer(access)
    client.assign(partitions)
    client.seek_to_beginning(*partitions)
    ends = end_offsets(client, partitions)
    found = []
    while any(client.position(x) < ends[x] for x in partitions):
        for place, records in client.poll(_POLL_MS).items():
            number = place.partition
            found += [Sent(number, x.offset, x.key, x.value, dict(x.headers)) for x in records]
    client.close()
    return sorted(found, key=lambda sent: (sent.partition, sent.offset))


def assert_once_and_in_order(sent: Sequence[Sent], source: str, count: int) -> None:
    """Check that a topic holds each record of a file once, each partition in the file's order."""
    assert sorted(x.record for x in sent) == [(source, index) for index in range(count)]
    places = [(x.partition, x.record[1]) for x in sent]
    assert places == sorted(places)


def dead_letters(root: Path) -> list[dict[str, Any]]:
    """Return the rows of a feed's dead letters, by source and offset."""
    rows = [
        row
        for path in (root / "dead_letters").glob("*.parquet")
        for row in pq.read_table(path).to_pylist()
    ]
    return sorted(rows, key=lambda row: (row["source"], row["offset"]))


def write_messages(path: Path, count: int, *, characters: int = 1200) -> Path:
    """Write a JSONL file of `count` citations with that many characters of abstract each."""
    words = "the kinase of the β-catenin receptor increased in tumour cells "
    text = (words * (characters // len(words) + 1))[:characters]
    with path.open("wb") as stream:
        for index in range(count):
            citation = Citation(1 + index, title=f"T {index}", abstract=(Section(text),))
            stream.write(to_message(citation) + b"\n")
    return path
