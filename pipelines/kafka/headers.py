"""Message headers for the producer, byte for byte as they were consumed."""

from collections.abc import Sequence

from schemas.records import header_key_bytes

Headers = Sequence[tuple[str, bytes | None]]
"""Header keys and values, in order; key bytes that are not UTF-8 are surrogates."""


class _Key(str):
    """A header's key as kafka-python requires it: a `str` whose `encode` returns its bytes."""

    __slots__ = ()

    def encode(self, *_: object) -> bytes:
        """Return the key's original bytes."""
        return header_key_bytes("".join(self))


def headers_to_send(headers: Headers) -> list[tuple[str, bytes]]:
    """Return `headers` for kafka-python's producer, which has no null values: they become empty."""
    return [(_Key(name), value or b"") for name, value in headers]
