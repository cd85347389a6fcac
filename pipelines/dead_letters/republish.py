"""Dead letters back to a topic, each once, whatever is killed in between."""

import uuid
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from kafka import errors

from pipelines.dead_letters.ledger import Ledger, Replay, Target
from pipelines.dead_letters.payload import message_of
from pipelines.dead_letters.reading import LetterId, choose, letter_digest, read_letters
from pipelines.dead_letters.selection import Selection, format_position
from pipelines.dead_letters.sent import REPLAY_ID, REPLAYED_FROM, sent_positions
from pipelines.kafka.access import KafkaAccess, producer
from pipelines.kafka.errors import explain
from pipelines.kafka.headers import headers_to_send
from pipelines.kafka.tail import topic_ends
from pipelines.kafka.topics import Topic, describe, max_message_bytes
from pipelines.output.store import Store
from schemas.errors import BrokerError, RecordError
from schemas.records import DeadLetter, header_key_bytes
from worker.cli.progress import Meter

if TYPE_CHECKING:
    from kafka import KafkaProducer

_BATCH_BYTES = 2**18
_REQUEST_BYTES = 80 * 2**20
_MOST_BYTES = 16 * 2**20
_MOST_MESSAGES = 1000
_LINGER_MS = 20
_OVERHEAD_BYTES = 128
_REFUSALS = (
    errors.MessageSizeTooLargeError,
    errors.RecordListTooLargeError,
    errors.InvalidRecordError,
    errors.CorruptRecordError,
)
"""What a broker says of one message; of no use to send it again as it is."""


@dataclass(frozen=True, slots=True)
class SendPlan:
    """Which letters of which output to send where; `limit` takes the newest of them.

    `again` sends what was sent before too. `clock` gives the time in UTC, `meter` tells how far it
    is. `check` may raise, to end the replay before the next letter; what was sent until then is
    found by the next replay.
    """

    store: Store
    access: KafkaAccess
    topic: str
    selection: Selection
    limit: int | None
    again: bool
    clock: Callable[[], datetime]
    meter: Meter = field(default_factory=Meter)
    check: Callable[[], None] = lambda: None


@dataclass(slots=True)
class SendReport:
    """What became of the letters that were meant.

    `recovered` of those `sent_before` were sent by a replay that was cut short; `no_message` are
    letters of files that still give no citation; `refused` says, by position, what the broker does
    not take, and why.
    """

    selected: int = 0
    sent: int = 0
    sent_before: int = 0
    recovered: int = 0
    no_message: int = 0
    refused: dict[str, str] = field(default_factory=dict)


def send_letters(plan: SendPlan) -> SendReport:
    """Send the letters that are meant and were not sent yet; return when the broker has them.

    :raises PubnerError: if the broker or the output fails; what was sent until then is found in the
        topic by the next replay, and not sent again.
    """
    cluster = describe(plan.access, [plan.topic])
    topic = cluster.topics[plan.topic]
    target = Target(cluster.id, topic.id)
    ledger = Ledger(plan.store)
    with ledger.locked():
        report = SendReport()
        report.recovered = settle(ledger, plan.access, target, topic)
        letters = choose(plan.store, plan.selection, plan.limit)
        report.selected = len(letters)
        if not plan.again:
            letters -= ledger.sent(target)
        report.sent_before = report.selected - len(letters)
        if letters:
            replay = Replay(
                id=uuid.uuid4().hex,
                target=target,
                topic=plan.topic,
                begun_at=plan.clock().isoformat(),
                ends=topic_ends(plan.access, plan.topic, topic.partitions),
                letters=letters,
            )
            ledger.save(replay)
            sent = _send(plan, replay, topic, report)
            record(ledger, replay, sent)
    return report


def record(ledger: Ledger, replay: Replay, sent: Collection[LetterId]) -> None:
    """Write down that a replay is at its end, and what it has sent."""
    ledger.save(replace(replay, letters=frozenset(sent), finished=True))


def settle(ledger: Ledger, access: KafkaAccess, target: Target, topic: Topic) -> int:
    """Find what replays to `topic` sent that were cut short, and write it down; return how much."""
    recovered = 0
    for replay in ledger.replays():
        if not replay.finished and replay.target == target:
            there = sent_positions(access, replace(replay, topic=topic.name), topic.partitions)
            sent = {x for x in replay.letters if format_position(x[0]) in there}
            record(ledger, replay, sent)
            recovered += len(sent)
    return recovered


def _send(plan: SendPlan, replay: Replay, topic: Topic, report: SendReport) -> set[LetterId]:
    """Send the letters of `replay`; return those that the broker acknowledged."""
    limit = max_message_bytes(plan.access, plan.topic)
    sender = _Sender(plan, replay, topic.partitions, limit)
    plan.meter.begin("sending", total=len(replay.letters), unit="dead letters")
    try:
        for block in read_letters(plan.store, plan.selection):
            for letter in block.letters:
                letter_id = (letter.position, letter_digest(letter))
                if letter_id not in replay.letters:
                    continue
                plan.check()
                try:
                    key, value = message_of(letter, from_topic=block.from_topic)
                except RecordError:
                    report.no_message += 1
                else:
                    sender.send(letter, letter_id, key, value)
                plan.meter.advance()
        sender.wait()
    finally:
        sender.close()
    report.sent, report.refused = len(sender.sent), sender.refused
    return sender.sent


@dataclass(frozen=True, slots=True)
class _Message:
    """A letter as it is sent."""

    id: LetterId
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]

    @property
    def size(self) -> int:
        """The bytes that it takes at most, uncompressed."""
        headers = sum(
            len(header_key_bytes(name)) + len(value or b"") + 8 for name, value in self.headers
        )
        return len(self.key or b"") + len(self.value or b"") + headers + _OVERHEAD_BYTES


@dataclass(slots=True)
class _Sender:
    """Sends the letters of a replay, a bounded number of bytes at a time.

    A producer of kafka-python's that had one message refused refuses all others, also those that
    the broker has taken meanwhile. So a message that may be too large for the topic's `limit` goes
    alone, and where another one is refused, what became of the rest is looked up in the topic.
    """

    plan: SendPlan
    replay: Replay
    partitions: tuple[int, ...]
    limit: int | None
    sent: set[LetterId] = field(default_factory=set)
    refused: dict[str, str] = field(default_factory=dict)
    _client: "KafkaProducer | None" = None
    _waiting: list[tuple[_Message, Any]] = field(default_factory=list)
    _bytes: int = 0

    def send(
        self, letter: DeadLetter, letter_id: LetterId, key: bytes | None, value: bytes | None
    ) -> None:
        """Send one letter.

        :raises BrokerError: if the broker cannot be reached, or refuses us.
        """
        ours = (
            (REPLAYED_FROM, format_position(letter.position).encode()),
            (REPLAY_ID, self.replay.id.encode()),
        )
        headers = (x for x in letter.headers if x[0] not in (REPLAYED_FROM, REPLAY_ID))
        message = _Message(letter_id, key, value, (*headers, *ours))
        alone = self.limit is not None and message.size > self.limit
        if alone:
            self.wait()
        self._waiting.append((message, self._give(message)))
        self._bytes += message.size
        if alone or self._bytes >= _MOST_BYTES or len(self._waiting) >= _MOST_MESSAGES:
            self.wait()

    def wait(self) -> None:
        """Wait until the broker has answered for all that is under way.

        :raises BrokerError: as `send`.
        """
        under_way, self._waiting, self._bytes = self._waiting, [], 0
        alone = len(under_way) == 1
        answers = [(x, self._answer(x, future, alone=alone)) for x, future in under_way]
        failed = [(message, error) for message, error in answers if error is not None]
        if failed and not alone:
            self.close()
            there = sent_positions(self.plan.access, self.replay, self.partitions)
            self.sent |= {x.id for x, _ in failed if format_position(x.id[0]) in there}
            again = [message for message, _ in failed if message.id not in self.sent]
            failed = [(x, error) for x in again if (error := self._alone(x)) is not None]
        elif failed:
            self.close()
        for message, error in failed:
            self.refused[format_position(message.id[0])] = self._reason(message, error)

    def close(self) -> None:
        """Close the producer; another is opened where one is needed."""
        if self._client is not None:
            self._client.close(timeout=0)
            self._client = None

    def _alone(self, message: _Message) -> errors.KafkaError | None:
        error = self._answer(message, self._give(message), alone=True)
        if error is not None:
            self.close()
        return error

    def _give(self, message: _Message) -> Any:  # noqa: ANN401 - a future of kafka-python's
        if self._client is None:
            self._client = _open_producer(self.plan.access, self.limit)
        try:
            return self._client.send(
                self.plan.topic,
                key=message.key,
                value=message.value,
                headers=headers_to_send(message.headers),
            )
        except _REFUSALS as error:
            return error
        except errors.KafkaError as error:
            raise self._failure(error) from error

    def _answer(
        self,
        message: _Message,
        future: Any,  # noqa: ANN401
        *,
        alone: bool,
    ) -> errors.KafkaError | None:
        """Return None where the broker took the message, else why it does not.

        Unless the message went `alone`, that can be because of another one in its batch.

        :raises BrokerError: where that is not the message's fault.
        """
        try:
            if isinstance(future, errors.KafkaError):
                raise future
            future.get(timeout=2 * self.plan.access.timeout_seconds + 10)
        except _REFUSALS as error:
            return error
        except errors.KafkaError as error:
            if not alone and type(error) is errors.KafkaError:
                return error
            raise self._failure(error) from error
        self.sent.add(message.id)
        return None

    def _reason(self, message: _Message, error: errors.KafkaError) -> str:
        if self.limit is not None and message.size > self.limit:
            return (
                f"{message.size:,} bytes, and topic {self.plan.topic!r} takes {self.limit:,}, "
                "compressed; raise its max.message.bytes, and replay the letter again"
            )
        if isinstance(error, errors.InvalidRecordError) and message.key is None:
            return "it has no key, and a topic that is compacted takes none without"
        return explain(error, self.plan.access).reason

    def _failure(self, error: errors.KafkaError) -> BrokerError:
        reason = explain(error, self.plan.access).reason
        return BrokerError(
            f"{self.plan.access}: cannot send to topic {self.plan.topic!r}: {reason}"
        )


def _open_producer(access: KafkaAccess, limit: int | None) -> "KafkaProducer":
    return producer(
        access,
        client_id="pubner-replay",
        linger_ms=_LINGER_MS,
        # No batch of several messages is over the topic's limit, so a refusal is of one message.
        batch_size=1 if limit is None else max(1, min(_BATCH_BYTES, limit // 2)),
        max_request_size=_REQUEST_BYTES,
        delivery_timeout_ms=int(max(access.timeout_seconds, 5) * 1000) + _LINGER_MS + 1000,
    )
