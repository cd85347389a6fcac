"""What a sender makes of lost acknowledgements and refusals, without a broker.

The producer is a small one of the test: when a real one loses an acknowledgement cannot be chosen.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from kafka import errors

from pipelines.kafka import sender
from pipelines.kafka.access import KafkaAccess
from pipelines.kafka.sender import Message, Sender
from schemas.errors import BrokerError


@dataclass
class Future:
    """A request that ends with an offset, or the reason of its failure, once the broker answers."""

    broker: "Broker"
    offset: int
    exception: Exception | None

    @property
    def is_done(self) -> bool:
        return self.broker.answers

    @property
    def value(self) -> SimpleNamespace:
        return SimpleNamespace(partition=0, offset=self.offset)

    def failed(self) -> bool:
        return self.exception is not None


@dataclass
class Broker:
    """Gives each message the next of its outcomes, and records what was sent."""

    outcomes: dict[bytes, list[Exception | None]]
    sent: list[bytes] = field(default_factory=list)
    answers: bool = False

    def send(self, topic: str, *, key: bytes, value: bytes, headers: object) -> Future:
        self.sent.append(key)
        outcome = self.outcomes[key].pop(0) if self.outcomes[key] else None
        return Future(self, len(self.sent), outcome)

    def close(self, timeout: float) -> None:
        """Do nothing."""


@dataclass
class Done:
    """What a sender reported."""

    acknowledged: list[bytes] = field(default_factory=list)
    refused: list[bytes] = field(default_factory=list)


def send(
    monkeypatch: pytest.MonkeyPatch, broker: Broker, keys: Sequence[bytes], held: Sequence[bytes]
) -> Done:
    """Send messages of those keys at once, of which the topic holds the `held` ones."""
    monkeypatch.setattr(sender, "producer", lambda *_, **__: broker)
    done = Done()
    made = Sender[Message](
        KafkaAccess(("localhost:1",)),
        "t",
        client_id="test",
        limit=None,
        acknowledged=lambda message, _: done.acknowledged.append(message.key or b""),
        refused=lambda message, *_: done.refused.append(message.key or b""),
        check=lambda: None,
        remedy="try again",
        find_sent=lambda failed: {message for message in failed if message.key in held},
    )
    for key in keys:
        made.send(Message(key, b"v", ()))
    broker.answers = True
    made.wait()
    return done


def lost() -> Exception:
    """Return the failure of a message that the broker may hold."""
    found: Exception = errors.KafkaTimeoutError("no acknowledgement")
    return found


def refusal() -> Exception:
    """Return the failure of a batch with a message that the broker refuses."""
    found: Exception = errors.RecordListTooLargeError()
    return found


def test_what_the_topic_holds_is_not_sent_again_after_a_refusal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    outcomes: dict[bytes, list[Any]] = {
        b"lost, held": [lost()],
        b"too large": [refusal(), refusal()],
        b"failed with it": [errors.KafkaError("the producer failed")],
    }
    broker = Broker(outcomes)
    done = send(monkeypatch, broker, list(outcomes), held=[b"lost, held"])
    assert done.acknowledged == [b"lost, held", b"failed with it"]
    assert done.refused == [b"too large"]
    assert broker.sent == [*outcomes, b"too large", b"failed with it"]


def test_without_a_refusal_nothing_is_sent_again(monkeypatch: pytest.MonkeyPatch) -> None:
    outcomes: dict[bytes, list[Any]] = {b"lost": [lost()], b"after it": [None]}
    broker = Broker(outcomes)
    with pytest.raises(BrokerError, match="cannot send to topic 't'"):
        send(monkeypatch, broker, list(outcomes), held=[])
    assert broker.sent == list(outcomes)
