"""Raw messages of a partition's log, and a record batch decoder that tolerates any input.

Any producer may write arbitrary bytes to a topic, so the content of a batch never stops the reader.
kafka-python's own decoder fails permanently at a header key that is not UTF-8, at a wrong checksum
and at an unknown codec, and decompresses a batch as a whole, whatever its size.

* A header key that is not UTF-8 is kept byte for byte, as surrogates (PEP 383).
* A batch is decompressed record by record. A record of more than 32 MiB, or one whose fields
  contradict its length, becomes one unreadable message; the records after it are still read.
* Each offset of a batch that cannot be decoded becomes one unreadable message, so that every offset
  still has exactly one row or dead letter. The first of them holds the batch's bytes.
"""

import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from kafka.record.default_records import DefaultRecordBatch
from kafka.record.legacy_records import LegacyRecordBatch
from kafka.record.util import decode_varint

from pipelines.kafka.codecs import decompressed, one_line, read_some
from schemas.errors import RecordBatchError
from schemas.records import header_key
from worker.readers.failures import MAX_RECORD_BYTES

KEPT_BYTES: Final = 2**20
"""Maximum bytes of a batch, or of a record over the size limit, kept in a dead letter."""
MAX_BATCH_BYTES: Final = 2**30
"""Maximum decompressed size of a batch; the rest of a larger one is not read."""
MAX_HEADERS: Final = 10_000
_HEADER_WEIGHT: Final = 200
"""Approximate memory overhead of one header's objects, in bytes."""
_FRAME = struct.Struct(">qii b")
_MIN_FRAME_BYTES: Final = 26
"""Minimum size in bytes of a batch of the oldest format."""
_MAX_OFFSETS: Final = 2**20
"""Maximum offsets of an unreadable batch; a larger one becomes one message, not one an offset."""
_CHUNK_BYTES: Final = 2**16

Headers = tuple[tuple[str, bytes | None], ...]
"""Header keys and values, in order; key bytes that are not UTF-8 are surrogates."""


@dataclass(frozen=True, slots=True)
class RawRecord:
    """One undecoded message; `timestamp` is in milliseconds since 1970, -1 if it has none.

    If `error` is not empty, it is the reason why the message cannot be read, and `value` holds the
    bytes kept of the record or of its batch.
    """

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    error: str = ""

    @property
    def size(self) -> int:
        """Approximate memory use in bytes."""
        headers = sum(len(name) + len(value or b"") for name, value in self.headers)
        own = len(self.key or b"") + len(self.value or b"")
        return own + headers + _HEADER_WEIGHT * len(self.headers)


@dataclass(frozen=True, slots=True)
class Frame:
    """The bytes of one batch; `next_offset` is where the batch after it begins, -1 if unknown."""

    data: memoryview
    next_offset: int


def frames(data: bytes | memoryview) -> Iterator[Frame]:
    """Yield the batches of a fetched log segment, without a last one that is truncated.

    A batch with an impossible length is the last one, since the begin of the next is unknown.
    """
    view = memoryview(data)
    begin = 0
    while len(view) - begin >= _FRAME.size:
        size = 12 + int(_FRAME.unpack_from(view, begin)[1])
        if size < _MIN_FRAME_BYTES:
            yield Frame(view[begin:], -1)
            return
        end = begin + size
        if end > len(view):
            return
        following = -1
        if len(view) - end >= _FRAME.size:
            first, _, _, magic = _FRAME.unpack_from(view, end)
            following = first if magic > 1 else -1  # older formats begin with their last offset
        yield Frame(view[begin:end], following)
        begin = end


class CurrentBatch(DefaultRecordBatch):  # type: ignore[misc]
    """A batch of the format of Kafka 0.11 and later, read record by record."""

    def records(self) -> Iterator[RawRecord]:
        """Yield the messages, in ascending order of offset.

        :raises RecordBatchError: where the batch cannot be decoded further.
        """
        least, read = self.base_offset, 0
        with decompressed(self.compression_type, memoryview(self._buffer)[self._pos :]) as stream:
            for number in range(self.records_count):
                size, width = _size(stream, number)
                read += size + width
                if read > MAX_BATCH_BYTES:
                    raise RecordBatchError(
                        f"it decompresses to more than {MAX_BATCH_BYTES} bytes, the limit of one "
                        "batch"
                    )
                kept = _read(stream, min(size, KEPT_BYTES if size > MAX_RECORD_BYTES else size))
                record = self._record(kept, size)
                if not least <= record.offset <= self.last_offset:
                    raise RecordBatchError(
                        f"record {number} has offset {record.offset}; one from "
                        f"{least} to {self.last_offset} was expected"
                    )
                if size > len(kept):
                    _skip(stream, size - len(kept))
                least = record.offset + 1
                yield record
            if read_some(stream, 1):
                raise RecordBatchError(f"bytes follow its {self.records_count} records")

    def _record(self, body: bytes, size: int) -> RawRecord:
        """Return one record of `size` bytes, decoded from `body`, its first bytes."""
        try:
            delta, position = decode_varint(body, 1)
            offset_delta, position = decode_varint(body, position)
        except (ValueError, IndexError):
            raise RecordBatchError("a record in it is damaged") from None
        offset = self.base_offset + offset_delta
        timestamp = self.max_timestamp if self.timestamp_type else self.first_timestamp + delta
        timestamp = max(-1, timestamp)
        if size > len(body):
            error = (
                f"the record has {size} bytes, and at most {MAX_RECORD_BYTES} are read; its first "
                f"{len(body)} bytes are kept, as they stood in the batch"
            )
            return RawRecord(offset, timestamp, None, body, (), error)
        try:
            key, value, headers = _fields(body, position)
        except (ValueError, IndexError) as error:
            reason = str(error) if isinstance(error, _DamagedRecordError) else "it ends too early"
            message = f"the record cannot be read: {reason}; its bytes are kept as in the batch"
            return RawRecord(offset, timestamp, None, body[:KEPT_BYTES], (), message)
        return RawRecord(offset, timestamp, key, value, headers)


class LegacyBatch(LegacyRecordBatch):  # type: ignore[misc]
    """A message, or a compressed set of messages, of a format before Kafka 0.11."""

    @property
    def last_offset(self) -> int:
        """The offset of its last message, which is what a batch of these formats begins with."""
        return int(self.base_offset)

    def records(self) -> Iterator[RawRecord]:
        """Yield the messages.

        :raises RecordBatchError: if the batch cannot be decoded.
        """
        least = -1
        try:
            found = list(self)
        except RecordBatchError:
            raise
        except Exception as error:
            raise RecordBatchError(f"it cannot be decoded ({one_line(error)})") from error
        for record in found:
            if not record.validate_crc():
                raise RecordBatchError("the checksum of a message in it is wrong")
            if not least < record.offset <= self.last_offset:
                raise RecordBatchError("the offsets of its messages do not rise")
            least = record.offset
            timestamp = -1 if record.timestamp is None else max(-1, record.timestamp)
            yield RawRecord(record.offset, timestamp, record.key, record.value, ())

    def _decompress(self, key_offset: int) -> bytes:
        # Overrides kafka-python's method, which has no size limit.
        position = key_offset
        for _ in range(2):
            [size] = struct.unpack_from(">i", self._buffer, position)
            begin, position = position + 4, position + 4 + max(size, 0)
        with decompressed(self.compression_type, self._buffer[begin:position]) as stream:
            data = read_some(stream, MAX_RECORD_BYTES + 1)
        if len(data) > MAX_RECORD_BYTES:
            raise RecordBatchError(f"it decompresses to more than {MAX_RECORD_BYTES} bytes")
        return data


def open_batch(frame: Frame) -> CurrentBatch | LegacyBatch:
    """Return the batch of a frame after verifying its checksum.

    :raises RecordBatchError: if the checksum is wrong or the format unknown.
    """
    base, length, _, magic = _FRAME.unpack_from(frame.data)
    if length + 12 != len(frame.data):
        raise RecordBatchError(f"its length field of {length} bytes contradicts its size")
    try:
        if magic in (0, 1):
            batch: Any = LegacyBatch(frame.data, magic)
        elif magic == 2:
            batch = CurrentBatch(frame.data)
        else:
            raise RecordBatchError(f"its format {magic} is not known; 0 to 2 are")
    except (struct.error, AssertionError):
        raise RecordBatchError("its header is cut off") from None
    if not batch.validate_crc():
        raise RecordBatchError("its checksum is wrong: the batch was damaged where it is stored")
    if magic == 2 and (batch.last_offset < base or batch.records_count < 0):
        raise RecordBatchError("its header is damaged")
    found: CurrentBatch | LegacyBatch = batch
    return found


def damaged_offsets(frame: Frame, position: int) -> range:
    """Return the offsets from `position` on of a batch whose header cannot be trusted.

    The range ends where two fields of the header agree, or where the next batch begins. If neither
    is known, it is the next offset alone: the broker returns the same batch again for every
    requested offset that may lie in it.
    """
    base, _, _, magic = _FRAME.unpack_from(frame.data)
    following = frame.next_offset
    if following >= 0 and following <= position:
        return range(0)
    end = following if following >= 0 else position + 1
    if magic in (0, 1):
        begin = position
        if following < 0:
            end = max(position, base) + 1
    else:
        begin = base
        header = bytes(frame.data[: DefaultRecordBatch.HEADER_STRUCT.size])
        if len(header) == DefaultRecordBatch.HEADER_STRUCT.size:
            batch = DefaultRecordBatch(header)
            agreed = batch.records_count == batch.last_offset_delta + 1 > 0
            if agreed and position <= batch.last_offset < (following if following >= 0 else 2**63):
                end = batch.last_offset + 1
    return range(begin if position <= begin < end else position, end)


def undecoded(frame: Frame, offsets: range, reason: RecordBatchError) -> Iterator[RawRecord]:
    """Yield one unreadable message for each of `offsets`, which must not be empty.

    The first holds the batch's bytes, at most 1 MiB of them.
    """
    begin, last = offsets[0], offsets[-1]
    which = f"offsets {begin} to {last}" if last > begin else f"offset {begin}"
    error = f"the record batch with {which} cannot be read: {reason}"
    data = bytes(frame.data[:KEPT_BYTES])
    cut = f", the first {len(data)} of {len(frame.data)} bytes" * (len(data) < len(frame.data))
    yield RawRecord(begin, -1, None, data, (), f"{error}; here are the batch's bytes{cut}")
    if len(offsets) > _MAX_OFFSETS:
        return
    for offset in offsets[1:]:
        message = f"{error}; the batch's bytes are in the dead letter of offset {begin}"
        yield RawRecord(offset, -1, None, b"", (), message)


class _DamagedRecordError(ValueError):
    """A record whose fields contradict each other; the message is the contradiction."""


def _fields(body: bytes, position: int) -> tuple[bytes | None, bytes | None, Headers]:
    """Return the key, value and headers that begin at `position` of a record."""
    key, position = _bytes(body, position)
    value, position = _bytes(body, position)
    count, position = decode_varint(body, position)
    if not 0 <= count <= MAX_HEADERS:
        raise _DamagedRecordError(f"it has {count} headers, and 0 to {MAX_HEADERS} are read")
    headers = []
    for _ in range(count):
        name, position = _bytes(body, position)
        content, position = _bytes(body, position)
        if name is None:
            raise _DamagedRecordError("a header has no key")
        headers.append((header_key(name), content))
    if position != len(body):
        raise _DamagedRecordError(f"its fields take {position} of its {len(body)} bytes")
    return key, value, tuple(headers)


def _bytes(body: bytes, position: int) -> tuple[bytes | None, int]:
    size, position = decode_varint(body, position)
    if size < 0:
        return None, position
    end = position + size
    if end > len(body):
        raise _DamagedRecordError("a field reaches beyond its end")
    return body[position:end], end


def _size(stream: io.BufferedIOBase, number: int) -> tuple[int, int]:
    """Return the length of the next record, and the width of the length field itself."""
    result = 0
    for width in range(5):
        [byte] = _read(stream, 1)
        result |= (byte & 0x7F) << 7 * width
        if not byte & 0x80:
            size = (result >> 1) ^ -(result & 1)
            if size < 0:
                break
            return size, width + 1
    raise RecordBatchError(f"the length of record {number} is damaged")


def _read(stream: io.BufferedIOBase, size: int) -> bytes:
    """Return exactly `size` bytes."""
    data = read_some(stream, size)
    if len(data) < size:
        raise RecordBatchError("it ends within a record")
    return data


def _skip(stream: io.BufferedIOBase, size: int) -> None:
    while size:
        size -= len(_read(stream, min(size, _CHUNK_BYTES)))
