"""Messages to the broker: in order, in bounded memory, with what is acknowledged so far."""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from kafka import KafkaProducer, errors

from pipelines.kafka.access import KafkaAccess, close_producer, producer
from pipelines.kafka.errors import explain
from schemas.errors import BrokerError

MOST_BYTES_UNDER_WAY = 32 * 2**20
_MOST_UNDER_WAY = 50_000
_BATCH_BYTES = 2**18
_LINGER_MS = 20
_REQUEST_BYTES = 80 * 2**20
_OVERHEAD_BYTES = 128
"""More than what a batch and a record in it take besides key, value and headers' texts."""
_PAUSE_SECONDS = 0.002
_GRACE_SECONDS = 10.0
_REFUSALS = (errors.MessageSizeTooLargeError, errors.RecordListTooLargeError)


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a topic, and the index in its file of the record that it is.

    `tombstone` says that it deletes its citation, or a version of that.
    """

    offset: int
    key: bytes
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]
    tombstone: bool = False

    @property
    def size(self) -> int:
        """The bytes that it takes at most, uncompressed."""
        headers = sum([len(name) + len(value) + 8 for name, value in self.headers])
        return len(self.key) + len(self.value or b"") + headers + _OVERHEAD_BYTES


@dataclass(frozen=True, slots=True)
class Refused:
    """A message that the broker does not take, and why."""

    message: Message
    error_type: str
    error: str


def open_producer(access: KafkaAccess, *, limit: int | None) -> KafkaProducer:
    """Return a producer for a topic whose batches may have `limit` bytes (None where unknown).

    No batch of several messages is ever over the limit, so that none must be split: a split while
    others are under way could change their order. Where the limit is unknown, one batch is under
    way at a time.
    """
    return producer(
        access,
        client_id="pubner-feed",
        linger_ms=_LINGER_MS,
        batch_size=_BATCH_BYTES if limit is None else max(1, min(_BATCH_BYTES, limit // 2)),
        max_request_size=_REQUEST_BYTES,
        max_in_flight_requests_per_connection=1 if limit is None else 5,
        delivery_timeout_ms=int(delivery_seconds(access) * 1000),
    )


def delivery_seconds(access: KafkaAccess) -> float:
    """Return how long a message is tried to be delivered, which is longer than one request."""
    return max(access.timeout_seconds, 5) + _LINGER_MS / 1000 + 1


@dataclass(slots=True)
class Delivery:
    """Sends the messages of one file after the other to `topic`.

    `open_client` gives a producer, and another one where a refusal has spent it. `limit` is the
    most bytes of a batch, None where unknown. `refused` is called with each message that the broker
    does not take, and `check` while waiting; it may raise. `ends` gives, by partition, the offset
    behind the last message that is acknowledged together with all before it.
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
    _under_way: deque[tuple[Message, int, Any]] = field(default_factory=deque)
    _bytes_under_way: int = 0
    _client: KafkaProducer = field(init=False)

    def __post_init__(self) -> None:
        self._client = self.open_client()

    def send(self, message: Message) -> None:
        """Send a message, after waiting until there is room for it.

        :raises BrokerError: if the broker cannot be reached, or refuses us.
        """
        size = message.size
        alone = self.limit is not None and size > self.limit
        most = 0 if alone else MOST_BYTES_UNDER_WAY - min(size, MOST_BYTES_UNDER_WAY)
        self._wait_until(most)
        try:
            future = self._hand_over(message)
        except errors.MessageSizeTooLargeError as error:
            self._refuse(message, error)
            return
        self._under_way.append((message, size, future))
        self._bytes_under_way += size
        if alone:
            self.wait()

    def acknowledged(self, next_offset: int) -> int:
        """Return the index before which nothing is under way; `next_offset` is to be read next."""
        return self._under_way[0][0].offset if self._under_way else next_offset

    def wait(self, *, check: bool = True) -> None:
        """Wait until nothing is under way; with `check` off, whatever `check` would say.

        :raises BrokerError: if a message cannot be delivered.
        """
        self._wait_until(0, check=check)

    def settle(self) -> None:
        """Take note of what the broker has acknowledged or refused.

        :raises BrokerError: if a message cannot be delivered.
        """
        under_way = self._under_way
        while under_way and under_way[0][2].is_done:
            message, _, future = under_way[0]
            if not future.failed():
                self._note(message, future)
            elif not isinstance(future.exception, _REFUSALS):
                raise self._failure(future.exception)
            elif len(under_way) == 1:
                self._refuse(message, future.exception)
                self._reopen()
            else:
                self._send_singly()
                return
            self._drop_first()

    def close(self, *, seconds: float) -> None:
        """Close the producer; what is still under way after that time is given up."""
        close_producer(self._client, seconds=seconds)

    def _hand_over(self, message: Message) -> Any:  # noqa: ANN401 - a future of kafka-python's
        try:
            return self._client.send(
                self.topic, key=message.key, value=message.value, headers=list(message.headers)
            )
        except errors.MessageSizeTooLargeError:
            raise
        except errors.KafkaError as error:
            raise self._failure(error) from error

    def _send_singly(self) -> None:
        """Send again, one at a time, all that failed with a message that the broker refuses.

        kafka-python gives up an idempotent producer with all that it holds where a batch is too
        large, so which message was at fault is found out here.
        """
        for _, _, future in self._under_way:
            self._wait_for(future)
        self._reopen()
        while self._under_way:
            message, _, future = self._under_way[0]
            if future.failed():
                if not isinstance(future.exception, _REFUSALS):
                    raise self._failure(future.exception)
                future = self._hand_over(message)
                self._wait_for(future)
            if not future.failed():
                self._note(message, future)
            elif isinstance(future.exception, _REFUSALS):
                self._refuse(message, future.exception)
                self._reopen()
            else:
                raise self._failure(future.exception)
            self._drop_first()

    def _wait_for(self, future: Any) -> None:  # noqa: ANN401 - kafka-python's
        end = time.monotonic() + delivery_seconds(self.access) + _GRACE_SECONDS
        while not future.is_done:
            if time.monotonic() > end:
                raise self._failure(errors.KafkaTimeoutError("a message is neither in nor out"))
            time.sleep(_PAUSE_SECONDS)

    def _reopen(self) -> None:
        self.close(seconds=0)
        self._client = self.open_client()

    def _note(self, message: Message, future: Any) -> None:  # noqa: ANN401 - kafka-python's
        self.ends[future.value.partition] = future.value.offset + 1
        self.messages += 1
        self.tombstones += message.tombstone
        self.bytes += len(message.value or b"")

    def _drop_first(self) -> None:
        _, size, _ = self._under_way.popleft()
        self._bytes_under_way -= size

    def _wait_until(self, most_bytes: int, *, check: bool = True) -> None:
        self.settle()
        while self._bytes_under_way > most_bytes or len(self._under_way) >= _MOST_UNDER_WAY:
            if check:
                self.check()
            time.sleep(_PAUSE_SECONDS)
            self.settle()

    def _refuse(self, message: Message, error: Exception) -> None:
        reason = f"the broker does not take the message of {message.size:,} bytes"
        if self.limit is not None and message.size > self.limit:
            reason += (
                f": topic {self.topic!r} allows {self.limit:,} bytes, compressed; raise its "
                "max.message.bytes and feed the record again"
            )
        else:
            reason += f" ({type(error).__name__})"
        self.refused(Refused(message, type(error).__name__, reason))

    def _failure(self, error: Exception) -> BrokerError:
        reason = explain(error, self.access).reason
        return BrokerError(f"{self.access}: cannot send to topic {self.topic!r}: {reason}")
