"""What the senders of many messages share: the producer, sizes in bytes, and errors."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from pipelines.kafka.access import KafkaAccess, producer
from pipelines.kafka.errors import explain
from schemas.errors import BrokerError
from schemas.records import header_key_bytes

if TYPE_CHECKING:
    from kafka import KafkaProducer

_BATCH_BYTES = 2**18
_LINGER_MS = 20
_REQUEST_BYTES = 80 * 2**20
_OVERHEAD_BYTES = 128
"""Upper bound of the size of a batch and a record besides the key, value and headers."""


def open_sender(access: KafkaAccess, *, client_id: str, limit: int | None) -> "KafkaProducer":
    """Return a producer for a topic whose batches may have `limit` bytes (None if unknown).

    No batch of several messages exceeds the limit, so a refusal concerns one message, and no batch
    must be split: splitting one while others are in flight could change their order. If the limit
    is unknown, only one batch is in flight at a time.
    """
    return producer(
        access,
        client_id=client_id,
        linger_ms=_LINGER_MS,
        batch_size=_BATCH_BYTES if limit is None else max(1, min(_BATCH_BYTES, limit // 2)),
        max_request_size=_REQUEST_BYTES,
        max_in_flight_requests_per_connection=1 if limit is None else 5,
        delivery_timeout_ms=int(delivery_seconds(access) * 1000),
    )


def delivery_seconds(access: KafkaAccess) -> float:
    """Return the delivery timeout of a message, which is longer than that of a request."""
    return max(access.timeout_seconds, 5) + _LINGER_MS / 1000 + 1


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
