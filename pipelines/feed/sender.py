"""Sender of messages: in order, in bounded memory, tracking acknowledged records."""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from kafka import KafkaProducer, errors

from pipelines.kafka.access import KafkaAccess, close_producer
from pipelines.kafka.sender import delivery_seconds, message_size, send_failure

MAX_BYTES_IN_FLIGHT = 32 * 2**20
_MAX_IN_FLIGHT = 50_000
_PAUSE_SECONDS = 0.002
_GRACE_SECONDS = 10.0
_REFUSALS = (errors.MessageSizeTooLargeError, errors.RecordListTooLargeError)


@dataclass(frozen=True, slots=True)
class Message:
    """A message to send; `offset` is the index of its record in the file.

    `tombstone` is whether it deletes its citation, or a version of it.
    """

    offset: int
    key: bytes
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]
    tombstone: bool = False

    @property
    def size(self) -> int:
        """Upper bound of its size in bytes, uncompressed."""
        return message_size(self.key, self.value, self.headers)


@dataclass(frozen=True, slots=True)
class Refused:
    """A message that the broker refused, and the reason."""

    message: Message
    error_type: str
    error: str


@dataclass(slots=True)
class Delivery:
    """Sends the messages of one file after the other to `topic`, in order.

    `open_client` returns a new producer, also to replace one that a refusal has made unusable.
    `limit` is the maximum bytes of a batch, None if unknown. `refused` is called with each message
    that the broker refuses, and `check` while waiting; it may raise. `ends` maps each partition to
    the offset after the last message that is acknowledged together with all before it.
    """

    open_client: Callable[[], KafkaProducer]
    access: KafkaAccess
    topic: str
    limit: int | None
    refused: Callable[[Refused], None]
    check: Callable[[], None]
    ends: dict[int, int] = field(default_factory=dict)
    messages: int = 0
    tombstones: int = 0
    bytes: int = 0
    _in_flight: deque[tuple[Message, int, Any]] = field(default_factory=deque)
    _bytes_in_flight: int = 0
    _client: KafkaProducer = field(init=False)

    def __post_init__(self) -> None:
        self._client = self.open_client()

    def send(self, message: Message) -> None:
        """Send a message, after waiting until the messages in flight leave room for it.

        :raises BrokerError: if the broker cannot be reached, or denies access.
        """
        size = message.size
        alone = self.limit is not None and size > self.limit
        most_bytes = 0 if alone else MAX_BYTES_IN_FLIGHT - min(size, MAX_BYTES_IN_FLIGHT)
        self._wait_until(most_bytes)
        try:
            future = self._produce(message)
        except errors.MessageSizeTooLargeError as error:
            self._refuse(message, error)
            return
        self._in_flight.append((message, size, future))
        self._bytes_in_flight += size
        if alone:
            self.wait()

    def acknowledged(self, next_offset: int) -> int:
        """Return the index of the first record in flight, or `next_offset` if there is none."""
        return self._in_flight[0][0].offset if self._in_flight else next_offset

    def wait(self, *, check: bool = True) -> None:
        """Wait until nothing is in flight; without `check`, a stop request is ignored.

        :raises BrokerError: if a message cannot be delivered.
        """
        self._wait_until(0, check=check)

    def collect_responses(self) -> None:
        """Process the messages that the broker has acknowledged or refused.

        :raises BrokerError: if a message cannot be delivered.
        """
        in_flight = self._in_flight
        while in_flight and in_flight[0][2].is_done:
            message, _, future = in_flight[0]
            if not future.failed():
                self._record_acknowledged(message, future)
            elif not isinstance(future.exception, _REFUSALS):
                raise send_failure(self.access, self.topic, future.exception)
            elif len(in_flight) == 1:
                self._refuse(message, future.exception)
                self._reopen()
            else:
                self._send_singly()
                return
            self._drop_first()

    def close(self, *, seconds: float) -> None:
        """Close the producer; messages still in flight after `seconds` are dropped."""
        close_producer(self._client, seconds=seconds)

    def _produce(self, message: Message) -> Any:  # noqa: ANN401 - a future of kafka-python's
        try:
            return self._client.send(
                self.topic, key=message.key, value=message.value, headers=list(message.headers)
            )
        except errors.MessageSizeTooLargeError:
            raise
        except errors.KafkaError as error:
            raise send_failure(self.access, self.topic, error) from error

    def _send_singly(self) -> None:
        """Send the messages in flight again, one at a time, to find the one that is refused.

        If a batch is too large, kafka-python fails all messages of an idempotent producer, without
        telling which of them was the cause.
        """
        for _, _, future in self._in_flight:
            self._wait_for(future)
        self._reopen()
        while self._in_flight:
            message, _, future = self._in_flight[0]
            if future.failed():
                if not isinstance(future.exception, _REFUSALS):
                    raise send_failure(self.access, self.topic, future.exception)
                future = self._produce(message)
                self._wait_for(future)
            if not future.failed():
                self._record_acknowledged(message, future)
            elif isinstance(future.exception, _REFUSALS):
                self._refuse(message, future.exception)
                self._reopen()
            else:
                raise send_failure(self.access, self.topic, future.exception)
            self._drop_first()

    def _wait_for(self, future: Any) -> None:  # noqa: ANN401 - kafka-python's
        end = time.monotonic() + delivery_seconds(self.access) + _GRACE_SECONDS
        while not future.is_done:
            if time.monotonic() > end:
                raise send_failure(
                    self.access,
                    self.topic,
                    errors.KafkaTimeoutError("a message was neither acknowledged nor refused"),
                )
            time.sleep(_PAUSE_SECONDS)

    def _reopen(self) -> None:
        self.close(seconds=0)
        self._client = self.open_client()

    def _record_acknowledged(self, message: Message, future: Any) -> None:  # noqa: ANN401 - kafka-python's
        self.ends[future.value.partition] = future.value.offset + 1
        self.messages += 1
        self.tombstones += message.tombstone
        self.bytes += len(message.value or b"")

    def _drop_first(self) -> None:
        _, size, _ = self._in_flight.popleft()
        self._bytes_in_flight -= size

    def _wait_until(self, most_bytes: int, *, check: bool = True) -> None:
        self.collect_responses()
        while self._bytes_in_flight > most_bytes or len(self._in_flight) >= _MAX_IN_FLIGHT:
            if check:
                self.check()
            time.sleep(_PAUSE_SECONDS)
            self.collect_responses()

    def _refuse(self, message: Message, error: Exception) -> None:
        reason = f"the broker refuses the message of {message.size:,} bytes"
        if self.limit is not None and message.size > self.limit:
            reason += (
                f": topic {self.topic!r} allows {self.limit:,} bytes, compressed; raise its "
                "max.message.bytes and feed the record again"
            )
        else:
            reason += f" ({type(error).__name__})"
        self.refused(Refused(message, type(error).__name__, reason))
