"""The topic that dead letters also go to, where the user names one."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from kafka import KafkaProducer

from pipelines.kafka.access import KafkaAccess, producer
from pipelines.kafka.failures import reporting
from schemas.records import DeadLetter

_SEND_SECONDS = 60.0


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
        if self._producer is None:
            self._producer = producer(self.access)
        with reporting(self.access, f"send dead letters to topic {self.topic!r}"):
            waiting = [
                self._producer.send(
                    self.topic,
                    key=letter.key,
                    value=letter.payload,
                    headers=[*letter.headers, *letter_headers(letter)],
                )
                for letter in letters
            ]
            for future in waiting:
                future.get(timeout=_SEND_SECONDS)

    def close(self) -> None:
        """Close the producer."""
        if self._producer is not None:
            self._producer.close()
            self._producer = None

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
