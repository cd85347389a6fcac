"""Decompression: bounded, whole, and honest about damage."""

import gzip
import io
import zlib

import pytest

from schemas.errors import DamagedStreamError
from worker.readers.streams import CHUNK_BYTES, open_decompressed

TEXT = b"".join(b"line %d of a text that compresses\n" % n for n in range(20_000))


class Trickle(io.BytesIO):
    """A stream that gives at most three bytes a read, as a network stream may."""

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(min(3, size) if size and size > 0 else 3)


def until_damage(data: bytes) -> tuple[bytes, str]:
    """Return what comes out before the damage, and the damage's message."""
    out = bytearray()
    chunks = open_decompressed(io.BytesIO(data))
    while True:
        try:
            out += next(chunks)
        except DamagedStreamError as error:
            return bytes(out), str(error)


@pytest.mark.parametrize("text", [b"", b"x", b"<a/>", TEXT])
def test_plain_and_gzip_give_the_same(text: bytes) -> None:
    assert b"".join(open_decompressed(io.BytesIO(text))) == text
    assert b"".join(open_decompressed(io.BytesIO(gzip.compress(text)))) == text


def test_members_and_padding() -> None:
    data = gzip.compress(b"one ") + gzip.compress(b"") + gzip.compress(b"two") + b"\0" * 1000
    assert b"".join(open_decompressed(io.BytesIO(data))) == b"one two"
    assert b"".join(open_decompressed(Trickle(data))) == b"one two"


def test_short_reads() -> None:
    assert b"".join(open_decompressed(Trickle(gzip.compress(TEXT[:5000])))) == TEXT[:5000]


def test_a_small_file_that_expands_is_read_in_bounded_chunks() -> None:
    bomb = gzip.compress(bytes(50 * CHUNK_BYTES))
    sizes = [len(chunk) for chunk in open_decompressed(io.BytesIO(bomb))]
    assert max(sizes) <= CHUNK_BYTES
    assert sum(sizes) == 50 * CHUNK_BYTES


@pytest.mark.parametrize("kept", [2, 5, 11, 200, 0.3, 0.9])
def test_a_cut_file_gives_what_zlib_can_know(kept: float) -> None:
    whole = gzip.compress(TEXT)
    data = whole[: int(kept if kept > 1 else len(whole) * kept)]
    out, message = until_damage(data)
    assert out == zlib.decompressobj(31).decompress(data)
    assert "truncated" in message
    if isinstance(kept, float):
        assert TEXT.startswith(out)
        assert len(out) > 0.2 * len(TEXT)


def test_only_the_trailer_is_missing() -> None:
    out, message = until_damage(gzip.compress(TEXT)[:-8])
    assert out == TEXT
    assert "truncated" in message


def test_corrupt_data_give_what_stands_before_the_damage() -> None:
    data = bytearray(gzip.compress(TEXT))
    middle = len(data) // 2
    data[middle : middle + 64] = bytes(64)
    out, message = until_damage(bytes(data))
    assert len(out) > 0.4 * len(TEXT)
    assert TEXT.startswith(out[: int(0.4 * len(TEXT))])
    assert "corrupt" in message


def test_a_wrong_checksum_is_damage() -> None:
    data = bytearray(gzip.compress(TEXT))
    data[-8] ^= 1
    out, message = until_damage(bytes(data))
    assert out == TEXT
    assert "corrupt" in message


def test_other_bytes_behind_the_end_are_damage() -> None:
    out, message = until_damage(gzip.compress(b"text") + b"<html>")
    assert out == b"text"
    assert "<html>" in message


def test_errors_of_the_stream_itself_are_raised() -> None:
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        list(open_decompressed(Broken()))


def test_gzip_in_gzip_is_read() -> None:
    twice = gzip.compress(gzip.compress(TEXT))
    for stream in (io.BytesIO(twice), Trickle(gzip.compress(gzip.compress(TEXT[:3000])))):
        assert TEXT.startswith(b"".join(open_decompressed(stream)))
    joined = gzip.compress(gzip.compress(b"one ")) + gzip.compress(gzip.compress(b"two"))
    assert b"".join(open_decompressed(io.BytesIO(joined))) == b"one two"
    magic = gzip.compress(b"\x1f")
    assert b"".join(open_decompressed(io.BytesIO(magic))) == b"\x1f"
    bomb = gzip.compress(gzip.compress(bytes(50 * CHUNK_BYTES)))
    sizes = [len(chunk) for chunk in open_decompressed(io.BytesIO(bomb))]
    assert (max(sizes) <= CHUNK_BYTES, sum(sizes)) == (True, 50 * CHUNK_BYTES)


@pytest.mark.parametrize("kept", [0.3, 0.9])
def test_gzip_in_gzip_that_is_cut_gives_what_came_before(kept: float) -> None:
    twice = gzip.compress(gzip.compress(TEXT))
    cut = twice[: int(len(twice) * kept)]
    out, message = until_damage(cut)
    assert out == zlib.decompressobj(31).decompress(zlib.decompressobj(31).decompress(cut))
    assert len(out) > 10_000
    assert "truncated" in message


def test_more_layers_are_named() -> None:
    out, message = until_damage(gzip.compress(gzip.compress(gzip.compress(TEXT))))
    assert out == b""
    assert "compressed more than 2 times" in message
