"""Optional Kafka topic that dead letters are sent to, besides the Parquet data set."""

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
    """Sends dead letters to `topic` after their block is written.

    Each message has the original's key, bytes and headers, and pubner's own headers, which begin
    with `pubner-letter-`: source, partition, offset, stage, error-type and error. A slice that is
    written again sends its dead letters again; consumers can deduplicate them by position.
    """

    access: KafkaAccess
    topic: str
    _producer: KafkaProducer | None = field(default=None, init=False, compare=False)

    def send(self, dead_letters: Sequence[DeadLetter]) -> None:
        """Send `dead_letters` and wait until the broker has them.

        :raises PubnerError: if the broker refuses them.
        """
        for dead_letter in dead_letters:
            retry(partial(self._report, dead_letter), before_again=self.close, sleep=time.sleep)

    def close(self) -> None:
        """Close the producer."""
        if self._producer is not None:
            close_producer(self._producer, seconds=_CLOSE_SECONDS)
            self._producer = None

    def _report(self, dead_letter: DeadLetter) -> None:
        with reporting(self.access, f"send dead letters to topic {self.topic!r}"):
            self._send(dead_letter)

    def _send(self, dead_letter: DeadLetter) -> None:
        """Send one dead letter, without its bytes and headers if it is over the broker's limit."""
        own_headers = dead_letter_headers(dead_letter)
        try:
            self._deliver(
                dead_letter.key, dead_letter.payload, [*dead_letter.headers, *own_headers]
            )
        except MessageSizeTooLargeError:
            self._deliver(dead_letter.key, b"", [*own_headers, _TRUNCATED])

    def _deliver(self, key: bytes | None, value: bytes, headers: Headers) -> None:
        if self._producer is None:
            self._producer = producer(self.access)
        try:
            future = self._producer.send(
                self.topic, key=key, value=value, headers=headers_to_send(headers)
            )
            future.get(timeout=_SEND_SECONDS)
        except KafkaError:
            self.close()  # an idempotent producer that was refused once refuses all that follows
            raise

    def __getstate__(self) -> tuple[KafkaAccess, str]:
        return self.access, self.topic

    def __setstate__(self, state: tuple[KafkaAccess, str]) -> None:
        self.access, self.topic = state
        self._producer = None


def dead_letter_headers(dead_letter: DeadLetter) -> list[tuple[str, bytes]]:
    """Return the headers with the position and the error of a dead letter."""
    position = dead_letter.position
    values = {
        "source": position.source,
        "partition": str(position.partition),
        "offset": str(position.offset),
        "stage": str(dead_letter.stage),
        "error-type": dead_letter.error_type,
        "error": dead_letter.error,
    }
    return [
        (f"pubner-letter-{name}", value.encode("utf-8", "backslashreplace"))
        for name, value in values.items()
    ]
