"""Topics full of all that a stream must stand, the ledger of what lies in them, and runs over them.

The ledger is kept by who sends: it says of each offset what the broker acknowledged there, so it
owes nothing to the code that reads.
"""

import json
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition

from schemas.records import ALL_VERSIONS

Headers = tuple[tuple[str, bytes], ...]
_TIMEOUT_SECONDS = 120
_NAMES = (
    "TP53",
    "α-synuclein",
    "𝛽-catenin",
    "IL-2",
    "naïve",
    "🧬 BRCA1",
    "H₂O₂",
    "中文",
    "e\u0301x",
)
_WORDS = "the of and in with was for disease cancer gene protein cell receptor kinase asthma"


@dataclass(frozen=True, slots=True)
class Message:
    """A message to send and what must become of it.

    `status` is that of its row in `citations`; None where it must become a dead letter.
    """

    key: bytes | None
    value: bytes | None
    status: str | None
    headers: Headers = ()
    pmid: int = 0
    version: int = 1
    text: str | None = None


@dataclass(frozen=True, slots=True)
class Sent:
    """A message where the broker put it."""

    topic: str
    partition: int
    offset: int
    message: Message

    @property
    def place(self) -> tuple[str, int, int]:
        """Its source position."""
        return self.topic, self.partition, self.offset


def make_topic(bootstrap: str, topic: str, partitions: int) -> None:
    """Create a topic."""
    with administrating(bootstrap) as admin:
        admin.create_topics({topic: {"num_partitions": partitions, "replication_factor": 1}})
        admin.wait_for_topics([topic], timeout_ms=30_000)


def add_partitions(bootstrap: str, topic: str, partitions: int) -> None:
    """Give a topic more partitions, `partitions` in all."""
    with administrating(bootstrap) as admin:
        admin.create_partitions({topic: partitions})


def delete_before(bootstrap: str, offsets: Mapping[TopicPartition, int]) -> None:
    """Delete what lies before the offsets, as retention does."""
    with administrating(bootstrap) as admin:
        admin.delete_records(dict(offsets))


@contextmanager
def administrating(bootstrap: str) -> Iterator[KafkaAdminClient]:
    """Return an admin client, and close it."""
    admin = KafkaAdminClient(bootstrap_servers=bootstrap)
    try:
        yield admin
    finally:
        admin.close()


@dataclass(slots=True)
class Sender:
    """Sends messages to partitions and keeps the ledger of those that count.

    A quarter of them goes through transactions, and for each one that is committed another one is
    aborted: its messages take offsets and must never be seen.
    """

    bootstrap: str
    seed: int = 0
    ledger: list[Sent] = field(default_factory=list)
    _number: int = 0
    _transactions: int = 0

    def send(self, topic: str, count: int, *, partitions: Sequence[int]) -> list[Sent]:
        """Send `count` messages of all kinds to `partitions`, in turn; return where they lie."""
        sent: list[Sent] = []
        plain = self._producer()
        bound = self._producer(transactional_id=f"{topic}-{self.seed}-{self._transactions}")
        self._transactions += 1
        bound.init_transactions()
        rng = random.Random(f"{self.seed}-{topic}-{self._number}")
        chunks = 0
        left = count
        try:
            while left:
                size = min(left, rng.randrange(20, 200))
                whole = self._messages(size, rng)
                chunks += 1
                if chunks % 4 == 1:
                    bound.begin_transaction()
                    self._send(bound, topic, self._messages(rng.randrange(1, 40), rng), partitions)
                    bound.abort_transaction()
                    bound.begin_transaction()
                    sent += self._send(bound, topic, whole, partitions)
                    bound.commit_transaction()
                else:
                    sent += self._send(plain, topic, whole, partitions)
                left -= size
        finally:
            plain.close()
            bound.close()
        self.ledger += sent
        return sent

    def send_one(self, producer: KafkaProducer, topic: str, partition: int) -> Sent:
        """Send one citation at once."""
        [sent] = self._send(producer, topic, [citation_message(self._next())], [partition])
        self.ledger.append(sent)
        return sent

    def _send(
        self,
        producer: KafkaProducer,
        topic: str,
        messages: Iterable[Message],
        partitions: Sequence[int],
    ) -> list[Sent]:
        """Send and wait until all is acknowledged."""
        futures = [
            (
                message,
                producer.send(
                    topic,
                    key=message.key,
                    value=message.value,
                    headers=list(message.headers),
                    partition=partitions[number % len(partitions)],
                ),
            )
            for number, message in enumerate(messages)
        ]
        producer.flush(_TIMEOUT_SECONDS)
        found = [(message, future.get(_TIMEOUT_SECONDS)) for message, future in futures]
        return [Sent(topic, at.partition, at.offset, message) for message, at in found]

    def _producer(self, **arguments: Any) -> KafkaProducer:
        return KafkaProducer(
            bootstrap_servers=self.bootstrap,
            acks="all",
            enable_idempotence=True,
            compression_type="lz4",
            linger_ms=5,
            delivery_timeout_ms=_TIMEOUT_SECONDS * 1000,
            **arguments,
        )

    def _messages(self, count: int, rng: random.Random) -> list[Message]:
        return [any_message(self._next(), rng) for _ in range(count)]

    def _next(self) -> int:
        self._number += 1
        return self._number


def any_message(number: int, rng: random.Random) -> Message:
    """Return a message of any kind: citations for the most part."""
    lot = rng.random()
    if lot < 0.05:
        return rng.choice(POISON)(number)
    if lot < 0.09:
        return Message(b"%d" % number, None, "deleted", pmid=number, version=ALL_VERSIONS)
    if lot < 0.11:
        value = {"schema_version": 1, "pmid": number, "pmid_version": 2, "deleted": True}
        return Message(b"%d" % number, _json(value), "deleted", pmid=number, version=2)
    if lot < 0.13:
        nothing = {"pmid": number, "title": "", "abstract": rng.choice(["", []])}
        return Message(b"%d" % number, _json(nothing), "no_text", pmid=number)
    return citation_message(number, rng)


def citation_message(number: int, rng: random.Random | None = None) -> Message:
    """Return a citation with a text of its own; characters outside the BMP among it."""
    rng = rng or random.Random(number)
    title = f"{rng.choice(_NAMES)} and {rng.choice(_NAMES)} in patient {number}"
    sentences = [
        f"{rng.choice(_NAMES)} {' '.join(rng.choices(_WORDS.split(), k=rng.randrange(3, 12)))}."
        for _ in range(rng.randrange(1, 5))
    ]
    version = rng.choice([1, 1, 1, 2])
    value: dict[str, object] = {
        "schema_version": rng.choice([1, 1, 1, 2]),
        "pmid": number,
        "pmid_version": version,
        "title": title,
        "year": 2026,
        "date_revised": "2026-01-31",
        "retracted": False,
        "a_field_nobody_knows": [number],
    }
    if rng.random() < 0.5:
        value["abstract"] = " ".join(sentences)
        text = f"{title}\n{' '.join(sentences)}"
    else:
        value["abstract"] = [{"label": "AIM", "text": x} for x in sentences]
        text = "\n".join([title, *(f"AIM: {x}" for x in sentences)])
    headers: Headers = (("trace", b"\x00\xff%d" % number),) if rng.random() < 0.1 else ()
    ascii_only = rng.random() < 0.5
    return Message(
        key=b"%d" % number if rng.random() < 0.95 else None,
        value=json.dumps(value, ensure_ascii=ascii_only).encode(),
        status="annotated",
        headers=headers,
        pmid=number,
        version=version,
        text=text,
    )


def _json(value: object) -> bytes:
    return json.dumps(value).encode()


def _poison(key: bytes | None, value: bytes | None, headers: Headers = ()) -> Message:
    return Message(key, value, None, headers)


POISON: tuple[Callable[[int], Message], ...] = (
    lambda number: _poison(b"%d" % number, b"{not JSON"),
    lambda number: _poison(b"%d" % number, b'{"pmid": 1, "title": "\xff\xfe", "abstract": ""}'),
    lambda number: _poison(b"%d" % number, _json({"pmid": number, "abstract": "no title"})),
    lambda number: _poison(b"%d" % (number + 1), citation_message(number).value),
    lambda number: _poison(b"PMID", None, (("trace", b"\x01"), ("trace", b"\x02"))),
    lambda number: _poison(b"%d" % number, b""),
    lambda number: _poison(b"\xff\x00", _json({"pmid": number, "title": "", "abstract": ""})),
    lambda number: _poison(None, _json([number])),
    lambda number: _poison(b"%d" % number, b'{"pmid": 1, "title": "\\ud800", "abstract": ""}'),
    lambda _: _poison(None, b"[" * 5000, (("empty", b""),)),
    lambda number: _poison(b"%d" % number, _json({"pmid": "1", "title": "", "abstract": ""})),
)
"""Makers of messages that break the contract, each in its way."""


def read_committed(bootstrap: str, topic: str) -> list[tuple[int, int, bytes | None, bytes | None]]:
    """Return partition, offset, key and value of what a reader of committed messages sees."""
    client = _consumer(bootstrap)
    partitions = [TopicPartition(topic, x) for x in sorted(client.partitions_for_topic(topic))]
    client.assign(partitions)
    client.seek_to_beginning(*partitions)
    ends = client.end_offsets(partitions)
    found = []
    while any(client.position(x) < ends[x] for x in partitions):
        for records in client.poll(200, max_records=10_000).values():
            found += [(x.partition, x.offset, x.key, x.value) for x in records]
    client.close()
    return sorted(found, key=lambda row: row[:2])


def end_offsets(bootstrap: str, topics: Iterable[str]) -> dict[TopicPartition, int]:
    """Return the offsets up to which each partition of the topics can be read."""
    client = _consumer(bootstrap)
    try:
        ends: dict[TopicPartition, int] = client.end_offsets(_partitions(client, topics))
        return ends
    finally:
        client.close()


def committed_offsets(
    bootstrap: str, group: str, topics: Iterable[str]
) -> dict[TopicPartition, int | None]:
    """Return what a group committed, by partition."""
    client = _consumer(bootstrap, group_id=group)
    try:
        return {x: client.committed(x) for x in _partitions(client, topics)}
    finally:
        client.close()


def _partitions(client: KafkaConsumer, topics: Iterable[str]) -> list[TopicPartition]:
    return [TopicPartition(x, n) for x in topics for n in sorted(client.partitions_for_topic(x))]


def _consumer(bootstrap: str, **arguments: Any) -> KafkaConsumer:
    return KafkaConsumer(
        bootstrap_servers=bootstrap,
        isolation_level="read_committed",
        enable_auto_commit=False,
        **arguments,
    )
