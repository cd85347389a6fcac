"""Republisher of dead letters to a topic, each once, even if a replay is killed."""

import uuid
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from kafka import errors

from pipelines.dead_letters.ledger import Ledger, Replay, Target
from pipelines.dead_letters.payload import message_of
from pipelines.dead_letters.reading import (
    DeadLetterId,
    choose,
    dead_letter_digest,
    read_dead_letters,
)
from pipelines.dead_letters.selection import Selection, format_position
from pipelines.dead_letters.sent import REPLAY_ID, REPLAYED_FROM, sent_positions
from pipelines.kafka.access import KafkaAccess
from pipelines.kafka.errors import explain
from pipelines.kafka.headers import headers_to_send
from pipelines.kafka.sender import message_size, open_sender, send_failure
from pipelines.kafka.tail import topic_ends
from pipelines.kafka.topics import Topic, describe, max_message_bytes
from pipelines.output.store import Store
from schemas.errors import RecordError
from schemas.records import DeadLetter
from worker.cli.progress import Meter

if TYPE_CHECKING:
    from kafka import KafkaProducer

_MAX_BYTES_IN_FLIGHT = 16 * 2**20
_MAX_MESSAGES_IN_FLIGHT = 1000
_REFUSALS = (
    errors.MessageSizeTooLargeError,
    errors.RecordListTooLargeError,
    errors.InvalidRecordError,
    errors.CorruptRecordError,
)
"""Errors with which a broker refuses one message; sending it again unchanged cannot help."""


@dataclass(frozen=True, slots=True)
class SendPlan:
    """The dead letters of an output to send, and the topic; `limit` selects the newest of them.

    `again` includes those that were sent before. `clock` returns the time in UTC; `meter` shows the
    progress. `check` may raise, to stop the replay before the next dead letter; the next replay
    finds in the topic what was sent until then.
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
    """The result for the selected dead letters.

    `recovered` of those `sent_before` were sent by an interrupted replay; `no_message` are dead
    letters of files that still cannot be parsed; `refused` maps the positions of those that the
    broker refused to the reason.
    """

    selected: int = 0
    sent: int = 0
    sent_before: int = 0
    recovered: int = 0
    no_message: int = 0
    refused: dict[str, str] = field(default_factory=dict)


def send_dead_letters(plan: SendPlan) -> SendReport:
    """Send the selected dead letters that were not sent yet; return once they are acknowledged.

    :raises PubnerError: if the broker or the output fails; the next replay finds in the topic what
        was sent until then, and does not send it again.
    """
    cluster = describe(plan.access, [plan.topic])
    topic = cluster.topics[plan.topic]
    target = Target(cluster.id, topic.id)
    ledger = Ledger(plan.store)
    with ledger.locked():
        report = SendReport()
        report.recovered = recover_interrupted(ledger, plan.access, target, topic)
        dead_letters = choose(plan.store, plan.selection, plan.limit)
        report.selected = len(dead_letters)
        if not plan.again:
            dead_letters -= ledger.sent(target)
        report.sent_before = report.selected - len(dead_letters)
        if dead_letters:
            replay = Replay(
                id=uuid.uuid4().hex,
                target=target,
                topic=plan.topic,
                begun_at=plan.clock().isoformat(),
                ends=topic_ends(plan.access, plan.topic, topic.partitions),
                dead_letters=dead_letters,
            )
            ledger.save(replay)
            sent = _send(plan, replay, topic, report)
            record(ledger, replay, sent)
    return report


def record(ledger: Ledger, replay: Replay, sent: Collection[DeadLetterId]) -> None:
    """Record that a replay is finished, and which dead letters it has sent."""
    ledger.save(replace(replay, dead_letters=frozenset(sent), finished=True))


def recover_interrupted(ledger: Ledger, access: KafkaAccess, target: Target, topic: Topic) -> int:
    """Record what interrupted replays to `topic` have sent; return how many dead letters."""
    recovered = 0
    for replay in ledger.replays():
        if not replay.finished and replay.target == target:
            in_topic = sent_positions(access, replace(replay, topic=topic.name), topic.partitions)
            sent = {x for x in replay.dead_letters if format_position(x[0]) in in_topic}
            record(ledger, replay, sent)
            recovered += len(sent)
    return recovered


def _send(plan: SendPlan, replay: Replay, topic: Topic, report: SendReport) -> set[DeadLetterId]:
    """Send the dead letters of `replay`; return those that the broker acknowledged."""
    limit = max_message_bytes(plan.access, plan.topic)
    sender = _Sender(plan, replay, topic.partitions, limit)
    plan.meter.begin("sending", total=len(replay.dead_letters), unit="dead letters")
    try:
        for block in read_dead_letters(plan.store, plan.selection):
            for dead_letter in block.dead_letters:
                dead_letter_id = (dead_letter.position, dead_letter_digest(dead_letter))
                if dead_letter_id not in replay.dead_letters:
                    continue
                plan.check()
                try:
                    key, value = message_of(dead_letter, from_topic=block.from_topic)
                except RecordError:
                    report.no_message += 1
                else:
                    sender.send(dead_letter, dead_letter_id, key, value)
                plan.meter.advance()
        sender.wait()
    finally:
        sender.close()
    report.sent, report.refused = len(sender.sent), sender.refused
    return sender.sent


@dataclass(frozen=True, slots=True)
class _Message:
    """The message for a dead letter."""

    id: DeadLetterId
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]

    @property
    def size(self) -> int:
        """Upper bound of its size in bytes, uncompressed."""
        return message_size(self.key, self.value, self.headers)


@dataclass(slots=True)
class _Sender:
    """Sends the dead letters of a replay, with a bounded number of bytes in flight.

    After one refused message, kafka-python's producer fails all others in flight, even those that
    the broker has accepted. So a message that may exceed the topic's `limit` is sent alone, and if
    another one is refused, the topic is read to find which of the rest it holds.
    """

    plan: SendPlan
    replay: Replay
    partitions: tuple[int, ...]
    limit: int | None
    sent: set[DeadLetterId] = field(default_factory=set)
    refused: dict[str, str] = field(default_factory=dict)
    _client: "KafkaProducer | None" = None
    _waiting: list[tuple[_Message, Any]] = field(default_factory=list)
    _bytes: int = 0

    def send(
        self,
        dead_letter: DeadLetter,
        dead_letter_id: DeadLetterId,
        key: bytes | None,
        value: bytes | None,
    ) -> None:
        """Send one dead letter.

        :raises BrokerError: if the broker cannot be reached, or denies access.
        """
        own_headers = (
            (REPLAYED_FROM, format_position(dead_letter.position).encode()),
            (REPLAY_ID, self.replay.id.encode()),
        )
        headers = (x for x in dead_letter.headers if x[0] not in (REPLAYED_FROM, REPLAY_ID))
        message = _Message(dead_letter_id, key, value, (*headers, *own_headers))
        alone = self.limit is not None and message.size > self.limit
        if alone:
            self.wait()
        self._waiting.append((message, self._produce(message)))
        self._bytes += message.size
        if (
            alone
            or self._bytes >= _MAX_BYTES_IN_FLIGHT
            or len(self._waiting) >= _MAX_MESSAGES_IN_FLIGHT
        ):
            self.wait()

    def wait(self) -> None:
        """Wait until the broker has acknowledged or refused all messages in flight.

        :raises BrokerError: as `send`.
        """
        in_flight, self._waiting, self._bytes = self._waiting, [], 0
        alone = len(in_flight) == 1
        outcomes = [
            (x, self._await_acknowledgement(x, future, alone=alone)) for x, future in in_flight
        ]
        failed = [(message, error) for message, error in outcomes if error is not None]
        if failed and not alone:
            self.close()
            in_topic = sent_positions(self.plan.access, self.replay, self.partitions)
            self.sent |= {x.id for x, _ in failed if format_position(x.id[0]) in in_topic}
            again = [message for message, _ in failed if message.id not in self.sent]
            failed = [(x, error) for x in again if (error := self._send_alone(x)) is not None]
        elif failed:
            self.close()
        for message, error in failed:
            self.refused[format_position(message.id[0])] = self._reason(message, error)

    def close(self) -> None:
        """Close the producer; the next message opens another."""
        if self._client is not None:
            self._client.close(timeout=0)
            self._client = None

    def _send_alone(self, message: _Message) -> errors.KafkaError | None:
        error = self._await_acknowledgement(message, self._produce(message), alone=True)
        if error is not None:
            self.close()
        return error

    def _produce(self, message: _Message) -> Any:  # noqa: ANN401 - a future of kafka-python's
        if self._client is None:
            # If the limit is unknown, each message is a batch, so that a refusal concerns it alone.
            self._client = open_sender(
                self.plan.access, client_id="pubner-replay", limit=self.limit or 1
            )
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
            raise send_failure(self.plan.access, self.plan.topic, error) from error

    def _await_acknowledgement(
        self,
        message: _Message,
        future: Any,  # noqa: ANN401
        *,
        alone: bool,
    ) -> errors.KafkaError | None:
        """Return None if the broker acknowledged the message, else the error of its refusal.

        Unless the message was sent `alone`, another one in its batch may be the cause.

        :raises BrokerError: if the failure does not concern the message.
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
            raise send_failure(self.plan.access, self.plan.topic, error) from error
        self.sent.add(message.id)
        return None

    def _reason(self, message: _Message, error: errors.KafkaError) -> str:
        if self.limit is not None and message.size > self.limit:
            return (
                f"{message.size:,} bytes, and topic {self.plan.topic!r} allows {self.limit:,}, "
                "compressed; raise its max.message.bytes, and replay the dead letter again"
            )
        if isinstance(error, errors.InvalidRecordError) and message.key is None:
            return "it has no key, and a compacted topic requires one"
        return explain(error, self.plan.access).reason
