"""The topic that dead letters also go to, where the user names one."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

from kafka import KafkaProducer
from kafka.errors import KafkaError, MessageSizeTooLargeError

from pipelines.kafka.access import KafkaAccess, close_producer, producer
from pipelines.kafka.errors import reporting
from pipelines.kafka.headers import Headers, headers_to_send
from pipelines.kafka.retry import retry
from schemas.records import DeadLetter

_SEND_SECONDS = 60.0
_CLOSE_SECONDS = 5.0
_TRUNCATED = (
    "pubner-letter-truncated",
    b"over the broker's limit; the output holds the bytes and headers",
)


@dataclass(slots=True)
class DeadLetterTopic:
    """Sends dead letters to `topic` once their block is in place.

    The message has the original's key, bytes and headers, and headers of our own, which begin with
    `pubner-letter-`: source, partition, offset, stage, error-type and error. A part that is written
    again sends its letters again; who reads the topic can tell by the position.
    """

    access: KafkaAccess
    topic: str
    _producer: KafkaProducer | None = field(default=None, init=False, compare=False)

    def send(self, letters: Sequence[DeadLetter]) -> None:
        """Send `letters` and wait until the broker has them.

        :raises PubnerError: if it does not take them.
        """
        for letter in letters:
            retry(partial(self._report, letter), before_again=self.close, sleep=time.sleep)

    def close(self) -> None:
        """Close the producer."""
        if self._producer is not None:
            close_producer(self._producer, seconds=_CLOSE_SECONDS)
            self._producer = None

    def _report(self, letter: DeadLetter) -> None:
        with reporting(self.access, f"send dead letters to topic {self.topic!r}"):
            self._send(letter)

    def _send(self, letter: DeadLetter) -> None:
        """Send one letter; of one over the broker's limit the output alone holds the bytes."""
        ours = letter_headers(letter)
        try:
            self._deliver(letter.key, letter.payload, [*letter.headers, *ours])
        except MessageSizeTooLargeError:
            self._deliver(letter.key, b"", [*ours, _TRUNCATED])

    def _deliver(self, key: bytes | None, value: bytes, headers: Headers) -> None:
        if self._producer is None:
            self._producer = producer(self.access)
        try:
            sent = self._producer.send(
                self.topic, key=key, value=value, headers=headers_to_send(headers)
            )
            sent.get(timeout=_SEND_SECONDS)
        except KafkaError:
            self.close()  # an idempotent producer that was refused once refuses all that follows
            raise

    def __getstate__(self) -> tuple[KafkaAccess, str]:
        return self.access, self.topic

    def __setstate__(self, state: tuple[KafkaAccess, str]) -> None:
        self.access, self.topic = state
        self._producer = None


def letter_headers(letter: DeadLetter) -> list[tuple[str, bytes]]:
    """Return the headers that say where a dead letter is from and why it is one."""
    position = letter.position
    values = {
        "source": position.source,
        "partition": str(position.partition),
        "offset": str(position.offset),
        "stage": str(letter.stage),
        "error-type": letter.error_type,
        "error": letter.error,
    }
    return [
        (f"pubner-letter-{name}", value.encode("utf-8", "backslashreplace"))
        for name, value in values.items()
    ]
