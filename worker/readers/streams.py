"""Bytes of a stream in chunks, decompressed where they are gzip, in bounded memory."""

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
    """What bytes are read from."""

    def read(self, size: int, /) -> bytes:
        """Return at most `size` bytes; none at the end."""


def open_decompressed(stream: BinaryIO) -> Iterator[bytes]:
    """Yield the content of `stream` in chunks of at most `CHUNK_BYTES`.

    A stream that begins with gzip's magic bytes is decompressed, all its members one after the
    other; zero padding behind the last one is ignored. What it gives is decompressed too where it
    is gzip again, as some mirrors deliver it. Any other stream is passed on as it is. A small input
    that expands without end costs no memory: each chunk is bounded.

    :raises DamagedStreamError: after the last byte that could be decompressed, where the gzip
        data are cut, corrupt or followed by something else, or compressed more than twice.
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
    """Chunks as a stream; a read gives no more than one of them."""

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
                yield from _rest(decompressor)  # the layer around this one is damaged
                raise
            if not pending:
                yield from _rest(decompressor)
                raise DamagedStreamError(
                    "the gzip data end before their end marker: the file is cut; fetch it again"
                )
            # A failing call gives nothing of what it decompressed, so keep the state before it.
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
    """Yield what `data` give up to the byte at which they are corrupt."""
    for at in range(len(data)):
        try:
            chunk = decompressor.decompress(data[at : at + 1])
        except zlib.error:
            return
        if chunk:
            yield chunk


def _next_member(stream: Stream, unused: bytes) -> bytes:
    """Return the bytes from the next gzip member on; empty at the end of the stream."""
    data = unused.lstrip(b"\0")
    while len(data) < len(_GZIP_MAGIC) and (chunk := stream.read(_COMPRESSED_CHUNK_BYTES)):
        data = (data + chunk).lstrip(b"\0")
    if data and not data.startswith(_GZIP_MAGIC):
        raise DamagedStreamError(
            f"{data[:8]!r} follows the end of the gzip data, where only another gzip member may;"
            " fetch the file again"
        )
    return data
