"""Republisher of dead letters to a topic, each once, even if a replay is killed."""

import uuid
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

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
from pipelines.kafka.sender import Message, Sender
from pipelines.kafka.tail import topic_ends
from pipelines.kafka.topics import Topic, describe, max_message_bytes
from pipelines.output.store import Store
from schemas.errors import RecordError
from schemas.records import DeadLetter
from worker.cli.progress import Meter


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
    sent: set[DeadLetterId] = set()

    def find_sent(failed: Sequence[_Message]) -> set[_Message]:
        in_topic = sent_positions(plan.access, replay, topic.partitions)
        return {message for message in failed if message.position in in_topic}

    sender = Sender[_Message](
        plan.access,
        plan.topic,
        client_id="pubner-replay",
        limit=max_message_bytes(plan.access, plan.topic),
        acknowledged=lambda message, _: sent.add(message.id),
        refused=lambda message, _, why: report.refused.update({message.position: why}),
        check=plan.check,
        remedy="replay the dead letter again",
        find_sent=find_sent,
    )
    plan.meter.begin("sending", total=len(replay.dead_letters), unit="dead letters")
    try:
        for block in read_dead_letters(plan.store, plan.selection):
            for dead_letter in block.dead_letters:
                dead_letter_id = (dead_letter.position, dead_letter_digest(dead_letter))
                if dead_letter_id not in replay.dead_letters:
                    continue
                plan.check()
                try:
                    message = _message(
                        dead_letter, dead_letter_id, replay, from_topic=block.from_topic
                    )
                except RecordError:
                    report.no_message += 1
                else:
                    sender.send(message)
                plan.meter.advance()
        sender.wait()
    finally:
        sender.close(seconds=0)
    report.sent = len(sent)
    return sent


@dataclass(frozen=True, slots=True)
class _Message(Message):
    """The message for a dead letter."""

    id: DeadLetterId

    @property
    def position(self) -> str:
        """The position of the dead letter, as text."""
        return format_position(self.id[0])


def _message(
    dead_letter: DeadLetter, dead_letter_id: DeadLetterId, replay: Replay, *, from_topic: bool
) -> _Message:
    """Return the message for a dead letter.

    :raises RecordError: if it has none.
    """
    key, value = message_of(dead_letter, from_topic=from_topic)
    own_headers = (
        (REPLAYED_FROM, format_position(dead_letter.position).encode()),
        (REPLAY_ID, replay.id.encode()),
    )
    headers = (x for x in dead_letter.headers if x[0] not in (REPLAYED_FROM, REPLAY_ID))
    return _Message(key, value, (*headers, *own_headers), dead_letter_id)
