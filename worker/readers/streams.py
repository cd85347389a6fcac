"""Reading of byte streams in chunks, with gzip decompressed in bounded memory."""

import zlib
from collections.abc import Iterator
from typing import BinaryIO, Final, Protocol

from schemas.errors import DamagedStreamError

CHUNK_BYTES: Final = 2**20
_COMPRESSED_CHUNK_BYTES: Final = 2**17
_GZIP_MAGIC: Final = b"\x1f\x8b"
_MOST_LAYERS: Final = 2
_GZIP_WINDOW: Final = zlib.MAX_WBITS + 16


class Stream(Protocol):
    """A readable byte stream."""

    def read(self, size: int, /) -> bytes:
        """Return at most `size` bytes; empty at the end."""


def open_decompressed(stream: BinaryIO) -> Iterator[bytes]:
    """Yield the content of `stream` in chunks of at most `CHUNK_BYTES`.

    A stream that begins with gzip's magic bytes is decompressed, all its members in turn; zero
    padding after the last one is ignored. Content that is itself gzip, as some mirrors deliver it,
    is decompressed again. Any other stream is passed through unchanged. Memory is bounded even for
    decompression bombs, because each chunk is.

    :raises DamagedStreamError: after the last byte that could be decompressed, if the gzip data
        are truncated, corrupt or followed by other data, or compressed more than twice.
    """
    return _opened(stream, 0)


def _opened(stream: Stream, layers: int) -> Iterator[bytes]:
    head = stream.read(len(_GZIP_MAGIC))
    while head and len(head) < len(_GZIP_MAGIC) and (more := stream.read(1)):
        head += more
    if head == _GZIP_MAGIC:
        if layers == _MOST_LAYERS:
            raise DamagedStreamError(
                f"the file is compressed more than {_MOST_LAYERS} times; decompress it (gunzip)"
                " until plain text or one layer is left"
            )
        yield from _opened(_Chunks(_decompress(stream, head)), layers + 1)
        return
    if head:
        yield head
    while chunk := stream.read(CHUNK_BYTES):
        yield chunk


class _Chunks:
    """A stream over an iterator of chunks; a read returns at most one chunk."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = b""

    def read(self, size: int, /) -> bytes:
        data = self._rest or next(self._chunks, b"")
        self._rest = data[size:]
        return data[:size]


def _decompress(stream: Stream, head: bytes) -> Iterator[bytes]:
    pending = head
    while pending:
        decompressor = zlib.decompressobj(_GZIP_WINDOW)
        while not decompressor.eof:
            try:
                pending = pending or stream.read(_COMPRESSED_CHUNK_BYTES)
            except DamagedStreamError:
                yield from _rest(decompressor)  # the outer gzip layer is damaged
                raise
            if not pending:
                yield from _rest(decompressor)
                raise DamagedStreamError(
                    "the gzip data end before their end marker: the file is truncated; fetch it "
                    "again"
                )
            # A failing call discards its partial output, so keep a copy of the state before it.
            before = decompressor.copy()
            try:
                chunk = decompressor.decompress(pending, CHUNK_BYTES)
            except zlib.error as error:
                yield from _before_damage(before, pending)
                raise DamagedStreamError(
                    f"the gzip data are corrupt ({error}); fetch the file again"
                ) from error
            pending = decompressor.unconsumed_tail
            if chunk:
                yield chunk
        pending = _next_member(stream, decompressor.unused_data)


def _rest(decompressor: "zlib._Decompress") -> Iterator[bytes]:
    if rest := decompressor.flush():
        yield rest


def _before_damage(decompressor: "zlib._Decompress", data: bytes) -> Iterator[bytes]:
    """Yield the decompressed content of `data` up to the first corrupt byte."""
    for at in range(len(data)):
        try:
            chunk = decompressor.decompress(data[at : at + 1])
        except zlib.error:
            return
        if chunk:
            yield chunk


def _next_member(stream: Stream, unused: bytes) -> bytes:
    """Return the bytes that start the next gzip member; empty at the end of the stream."""
    data = unused.lstrip(b"\0")
    while len(data) < len(_GZIP_MAGIC) and (chunk := stream.read(_COMPRESSED_CHUNK_BYTES)):
        data = (data + chunk).lstrip(b"\0")
    if data and not data.startswith(_GZIP_MAGIC):
        raise DamagedStreamError(
            f"{data[:8]!r} follows the end of the gzip data, where only another gzip member may;"
            " fetch the file again"
        )
    return data
