"""Message headers as they are sent, byte for byte as they came."""

from collections.abc import Sequence

from schemas.records import header_key_bytes

Headers = Sequence[tuple[str, bytes | None]]
"""Keys and values in their order; bytes of a key that are not UTF-8 are surrogates."""


class _Key(str):
    """A header's key; kafka-python takes a `str` alone, and encodes it."""

    __slots__ = ()

    def encode(self, *_: object) -> bytes:
        """Return the key's own bytes."""
        return header_key_bytes("".join(self))


def headers_to_send(headers: Headers) -> list[tuple[str, bytes]]:
    """Return `headers` as kafka-python's producer takes them; it knows no null value."""
    return [(_Key(name), value or b"") for name, value in headers]
