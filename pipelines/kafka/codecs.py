"""What record batches are compressed by: each of Kafka's codecs as a stream of bytes."""

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
    """Read up to `size` bytes; whatever a codec's library raises says that the batch is damaged."""
    try:
        return stream.read(size)
    except RecordBatchError:
        raise
    except Exception as error:
        raise RecordBatchError(f"it cannot be decompressed ({one_line(error)})") from error


def decompressed(codec: int, data: memoryview) -> io.BufferedIOBase:
    """Return the records' bytes as a stream.

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
    """The bytes of a snappy batch: one block, or several as the Java client frames them."""

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
        taken = min(len(buffer), len(self._rest))
        buffer[:taken] = self._rest[:taken]
        self._rest = self._rest[taken:]
        return taken


def _snappy_blocks(data: bytes) -> Iterator[bytes]:
    if not data.startswith(_XERIAL):
        yield _snappy_block(data)
        return
    place = _XERIAL_BYTES
    while place < len(data):
        [size] = struct.unpack_from(">i", data, place)
        place += 4
        if not 0 <= size <= len(data) - place:
            raise RecordBatchError("a block of its snappy data is cut off")
        yield _snappy_block(data[place : place + size])
        place += size


def _snappy_block(block: bytes) -> bytes:
    """Return what a block holds; how much that is stands before it, and is not allocated unseen."""
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
    """Return an error of another library as one short line."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]
