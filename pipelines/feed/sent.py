"""Finds the records that an interrupted feed has sent after its last saved offsets."""

from collections.abc import Iterable, Mapping

from pipelines.kafka.access import KafkaAccess
from pipelines.kafka.tail import headers_since

SOURCE = "pubner-source"
OFFSET = "pubner-offset"
DIGEST = "pubner-digest"
SCHEMA_HEADER = "pubner-schema-version"
DIGEST_DIGITS = 16

Sent = Mapping[tuple[str, str], set[int]]
"""The indices of the records sent, by the file's source name and its digest's first digits."""


def sent_since(
    access: KafkaAccess, topic: str, partitions: Iterable[int], ends: Mapping[int, int]
) -> Sent:
    """Return the records sent since `ends`; a partition not among them is read from its start.

    :raises BrokerError: if the topic cannot be read.
    """
    sent: dict[tuple[str, str], set[int]] = {}
    for headers in headers_since(access, topic, partitions, ends):
        try:
            sent.setdefault(file_of(headers.items()), set()).add(int(headers[OFFSET]))
        except (KeyError, ValueError):
            continue  # a message of another producer
    return sent


def file_of(headers: Iterable[tuple[str, bytes | None]]) -> tuple[str, str]:
    """Return the source name and the digest's first digits of the file of a message.

    :raises KeyError: if its headers do not name them.
    :raises ValueError: if they are no text.
    """
    values = {name: value or b"" for name, value in headers}
    return values[SOURCE].decode("utf-8"), values[DIGEST].decode("ascii")
