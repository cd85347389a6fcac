"""Kafka's compression codecs, each as a stream of decompressed bytes."""

import io
import struct
from collections.abc import Iterator
from gzip import GzipFile
from typing import Any, Final

import lz4.frame
import snappy
import zstandard

from schemas.errors import RecordBatchError
from worker.readers.failures import MAX_RECORD_BYTES

_CHUNK_BYTES: Final = 2**16
_CODECS: Final = ("none", "gzip", "snappy", "lz4", "zstd")
_XERIAL: Final = b"\x82SNAPPY\x00"
_XERIAL_BYTES: Final = 16


def read_some(stream: io.BufferedIOBase, size: int) -> bytes:
    """Read up to `size` bytes; any error of a codec's library becomes a `RecordBatchError`."""
    try:
        return stream.read(size)
    except RecordBatchError:
        raise
    except Exception as error:
        raise RecordBatchError(f"it cannot be decompressed ({one_line(error)})") from error


def decompressed(codec: int, data: memoryview) -> io.BufferedIOBase:
    """Return the decompressed records as a stream.

    :raises RecordBatchError: if the codec is not known.
    """
    if codec >= len(_CODECS):
        known = ", ".join(f"{number} ({name})" for number, name in enumerate(_CODECS))
        raise RecordBatchError(f"its compression codec {codec} is not known; {known} are")
    source = io.BytesIO(data)
    opened: Any = source
    try:
        if codec == 1:
            opened = GzipFile(fileobj=source)
        elif codec == 2:
            opened = _SnappyBlocks(bytes(data))
        elif codec == 3:
            opened = lz4.frame.LZ4FrameFile(source)
        elif codec == 4:
            opened = zstandard.ZstdDecompressor().stream_reader(source, read_across_frames=True)
    except Exception as error:
        raise RecordBatchError(f"it cannot be decompressed ({one_line(error)})") from error
    return io.BufferedReader(opened, _CHUNK_BYTES)


class _SnappyBlocks(io.RawIOBase):
    """Decompressed bytes of a snappy batch: one block, or several framed by the Java client."""

    def __init__(self, data: bytes) -> None:
        self._blocks = _snappy_blocks(data)
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401 - any writable buffer
        while not self._rest:
            block = next(self._blocks, None)
            if block is None:
                return 0
            self._rest = memoryview(block)
        copied = min(len(buffer), len(self._rest))
        buffer[:copied] = self._rest[:copied]
        self._rest = self._rest[copied:]
        return copied


def _snappy_blocks(data: bytes) -> Iterator[bytes]:
    if not data.startswith(_XERIAL):
        yield _snappy_block(data)
        return
    position = _XERIAL_BYTES
    while position < len(data):
        [size] = struct.unpack_from(">i", data, position)
        position += 4
        if not 0 <= size <= len(data) - position:
            raise RecordBatchError("a block of its snappy data is cut off")
        yield _snappy_block(data[position : position + size])
        position += size


def _snappy_block(block: bytes) -> bytes:
    """Return a decompressed block, after checking the size it declares before allocating it."""
    size = 0
    for number, byte in enumerate(block[:5]):
        size |= (byte & 0x7F) << 7 * number
        if not byte & 0x80:
            break
    if size > 2 * MAX_RECORD_BYTES:
        raise RecordBatchError(
            f"a block of its snappy data has {size} bytes; {2 * MAX_RECORD_BYTES} are read at most"
        )
    found: bytes = snappy.decompress(block)
    return found


def one_line(error: Exception) -> str:
    """Return an error of another library as one line of at most 200 characters."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]
