"""Sender of messages: in order, in bounded memory, telling what the broker did with each."""

import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from kafka import errors

from pipelines.kafka.access import KafkaAccess, close_producer, producer
from pipelines.kafka.errors import explain
from pipelines.kafka.headers import Headers, headers_to_send
from schemas.errors import BrokerError
from schemas.records import header_key_bytes

if TYPE_CHECKING:
    from kafka import KafkaProducer

MAX_BYTES_IN_FLIGHT = 32 * 2**20
_MAX_IN_FLIGHT = 50_000
_BATCH_BYTES = 2**18
_LINGER_MS = 20
_REQUEST_BYTES = 80 * 2**20
_OVERHEAD_BYTES = 128
"""Upper bound of the size of a batch and a record besides the key, value and headers."""
_PAUSE_SECONDS = 0.002
_GRACE_SECONDS = 10.0
_REFUSALS = (
    errors.MessageSizeTooLargeError,
    errors.RecordListTooLargeError,
    errors.InvalidRecordError,
    errors.CorruptRecordError,
)
"""Errors with which a broker refuses one message; sending it again unchanged cannot help."""


@dataclass(frozen=True, slots=True)
class Message:
    """A message to send."""

    key: bytes | None
    value: bytes | None
    headers: Headers

    @property
    def size(self) -> int:
        """Upper bound of its size in bytes, uncompressed."""
        return message_size(self.key, self.value, self.headers)


M = TypeVar("M", bound=Message)


@dataclass(slots=True)
class Sender(Generic[M]):
    """Sends messages to `topic`, in order, with a bounded number of bytes in flight.

    After one refused message, kafka-python's idempotent producer fails all others in flight, even
    those that the broker has accepted, without telling which one was the cause. So a message that
    may exceed `limit`, the maximum bytes of a batch (None if unknown), is sent alone; and if
    another one is refused, those that failed are sent again one at a time, but for those that
    `find_sent` returns: it is given the failed messages, and may look for them in the topic.

    `acknowledged` is called with each message that the broker acknowledged, its partition and its
    offset (None if `find_sent` returned it); `refused` with each one that the broker refused, and
    the reason. `check` is called while waiting, and may raise. `remedy` ends the reason of a
    refusal by size.
    """

    access: KafkaAccess
    topic: str
    client_id: str
    limit: int | None
    acknowledged: Callable[[M, tuple[int, int] | None], None]
    refused: Callable[[M, errors.KafkaError, str], None]
    check: Callable[[], None]
    remedy: str
    find_sent: Callable[[Sequence[M]], Collection[M]] = lambda _: ()
    _in_flight: "deque[tuple[M, int, Any]]" = field(default_factory=deque)
    _bytes_in_flight: int = 0
    _client: "KafkaProducer" = field(init=False)

    def __post_init__(self) -> None:
        self._open()

    @property
    def first_in_flight(self) -> M | None:
        """The first message that is neither acknowledged nor refused."""
        return self._in_flight[0][0] if self._in_flight else None

    def send(self, message: M) -> None:
        """Send a message, after waiting until the messages in flight leave room for it.

        :raises BrokerError: if the broker cannot be reached, or denies access.
        """
        size = message.size
        alone = self.limit is not None and size > self.limit
        most_bytes = 0 if alone else MAX_BYTES_IN_FLIGHT - min(size, MAX_BYTES_IN_FLIGHT)
        self._wait_until(most_bytes)
        try:
            future = self._produce(message)
        except _REFUSALS as error:
            self._refuse(message, error)
            return
        self._in_flight.append((message, size, future))
        self._bytes_in_flight += size
        if alone:
            self.wait()

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
                self._acknowledge(message, future)
            elif len(in_flight) > 1:
                self._send_singly()
                return
            elif isinstance(future.exception, _REFUSALS):
                self._refuse(message, future.exception)
                self._reopen()
            else:
                raise send_failure(self.access, self.topic, future.exception)
            self._drop_first()

    def close(self, *, seconds: float) -> None:
        """Close the producer; messages still in flight after `seconds` are dropped."""
        close_producer(self._client, seconds=seconds)

    def _produce(self, message: M) -> Any:  # noqa: ANN401 - a future of kafka-python's
        try:
            return self._client.send(
                self.topic,
                key=message.key,
                value=message.value,
                headers=headers_to_send(message.headers),
            )
        except _REFUSALS:
            raise
        except errors.KafkaError as error:
            raise send_failure(self.access, self.topic, error) from error

    def _send_singly(self) -> None:
        """Send the failed messages in flight again, one at a time, to find the refused one.

        :raises BrokerError: if none of them was refused, or one cannot be delivered.
        """
        for _, _, future in self._in_flight:
            self._wait_for(future)
        failed = [(message, f.exception) for message, _, f in self._in_flight if f.failed()]
        if not any(isinstance(error, _REFUSALS) for _, error in failed):
            raise send_failure(self.access, self.topic, failed[0][1])
        self._reopen()
        sent = self.find_sent([message for message, _ in failed])
        while self._in_flight:
            message, _, future = self._in_flight[0]
            if not future.failed():
                self._acknowledge(message, future)
            elif message in sent:
                self.acknowledged(message, None)
            else:
                self._send_alone(message)
            self._drop_first()

    def _send_alone(self, message: M) -> None:
        try:
            future = self._produce(message)
            self._wait_for(future)
            if future.failed():
                raise future.exception
        except _REFUSALS as error:
            self._refuse(message, error)
            self._reopen()
        except errors.KafkaError as error:
            raise send_failure(self.access, self.topic, error) from error
        else:
            self._acknowledge(message, future)

    def _wait_for(self, future: Any) -> None:  # noqa: ANN401 - kafka-python's
        end = time.monotonic() + _delivery_seconds(self.access) + _GRACE_SECONDS
        while not future.is_done:
            if time.monotonic() > end:
                raise send_failure(
                    self.access,
                    self.topic,
                    errors.KafkaTimeoutError("a message was neither acknowledged nor refused"),
                )
            time.sleep(_PAUSE_SECONDS)

    def _open(self) -> None:
        # No batch of several messages exceeds the limit, so a refusal concerns one message, and no
        # batch must be split: splitting one while others are in flight could change their order.
        limit = self.limit
        self._client = producer(
            self.access,
            client_id=self.client_id,
            linger_ms=_LINGER_MS,
            batch_size=_BATCH_BYTES if limit is None else max(1, min(_BATCH_BYTES, limit // 2)),
            max_request_size=_REQUEST_BYTES,
            max_in_flight_requests_per_connection=1 if limit is None else 5,
            delivery_timeout_ms=int(_delivery_seconds(self.access) * 1000),
        )

    def _reopen(self) -> None:
        self.close(seconds=0)
        self._open()

    def _acknowledge(self, message: M, future: Any) -> None:  # noqa: ANN401 - kafka-python's
        self.acknowledged(message, (future.value.partition, future.value.offset))

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

    def _refuse(self, message: M, error: errors.KafkaError) -> None:
        if self.limit is not None and message.size > self.limit:
            reason = (
                f"the broker refuses the message of {message.size:,} bytes: topic {self.topic!r} "
                f"allows {self.limit:,} bytes, compressed; raise its max.message.bytes and "
                f"{self.remedy}"
            )
        elif isinstance(error, errors.InvalidRecordError) and message.key is None:
            reason = "it has no key, and a compacted topic requires one"
        else:
            reason = (
                f"the broker refuses the message of {message.size:,} bytes: "
                f"{explain(error, self.access).reason}"
            )
        self.refused(message, error, reason)


def message_size(
    key: bytes | None, value: bytes | None, headers: Iterable[tuple[str, bytes | None]]
) -> int:
    """Return an upper bound of a message's size in bytes, uncompressed."""
    sizes = [len(header_key_bytes(name)) + len(content or b"") + 8 for name, content in headers]
    return len(key or b"") + len(value or b"") + sum(sizes) + _OVERHEAD_BYTES


def send_failure(access: KafkaAccess, topic: str, error: Exception) -> BrokerError:
    """Return the error for a failure to send that does not concern one message."""
    reason = explain(error, access).reason
    return BrokerError(f"{access}: cannot send to topic {topic!r}: {reason}")


def _delivery_seconds(access: KafkaAccess) -> float:
    """Return the delivery timeout of a message, which is longer than that of a request."""
    return max(access.timeout_seconds, 5) + _LINGER_MS / 1000 + 1
