"""Messages as they lie in a partition's log, and record batches as messages.

Whoever may write to a topic may write anything there, so nothing in a batch raises. kafka-python's
own reader stops for good at a header key that is not UTF-8, at a checksum that is wrong and at a
codec that it does not know, and decompresses a batch whole, however large that gets.

* A header's key that is not UTF-8 is kept byte for byte, by surrogates (PEP 383).
* A batch is decompressed record by record. A record of more than 32 MiB, or one whose own fields do
  not agree with its length, is one message that cannot be read, and those behind it are read.
* What of a batch cannot be decoded is one message that cannot be read for each of its offsets, so
  that every offset still has exactly one row or dead letter. The first holds the batch's bytes.
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
"""So much of a batch, or of a record over the limit, is kept in a dead letter."""
MAX_BATCH_BYTES: Final = 2**30
"""A batch that decompresses to more is not read on."""
MAX_HEADERS: Final = 10_000
_HEADER_WEIGHT: Final = 200
"""About what the objects of one header take beside its bytes."""
_FRAME = struct.Struct(">qii b")
_OLDEST_FRAME: Final = 26
"""The bytes that a batch of the oldest format has at least."""
_MOST_OFFSETS: Final = 2**20
"""A batch that says it has more offsets is one message that cannot be read, not one an offset."""
_CHUNK_BYTES: Final = 2**16

Headers = tuple[tuple[str, bytes | None], ...]
"""Keys and values in their order; bytes of a key that are not UTF-8 are surrogates."""


@dataclass(frozen=True, slots=True)
class RawRecord:
    """One message as it came, `timestamp` in milliseconds since 1970, -1 where there is none.

    Where `error` is not empty, it says why the message cannot be read, and `value` holds bytes of
    the record or its batch, as much of them as is kept.
    """

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    error: str = ""

    @property
    def size(self) -> int:
        """About how many bytes of memory it takes."""
        headers = sum(len(name) + len(value or b"") for name, value in self.headers)
        own = len(self.key or b"") + len(self.value or b"")
        return own + headers + _HEADER_WEIGHT * len(self.headers)


@dataclass(frozen=True, slots=True)
class Frame:
    """The bytes of one batch; `next_offset` is where the batch behind it begins, -1 if unknown."""

    data: memoryview
    next_offset: int


def frames(data: bytes | memoryview) -> Iterator[Frame]:
    """Yield the batches of a fetched stretch of a log; one that is cut off at its end is left out.

    A batch whose length cannot be right is the last one: where the next begins is not known.
    """
    view = memoryview(data)
    begin = 0
    while len(view) - begin >= _FRAME.size:
        size = 12 + int(_FRAME.unpack_from(view, begin)[1])
        if size < _OLDEST_FRAME:
            yield Frame(view[begin:], -1)
            return
        end = begin + size
        if end > len(view):
            return
        following = -1
        if len(view) - end >= _FRAME.size:
            first, _, _, magic = _FRAME.unpack_from(view, end)
            following = first if magic > 1 else -1  # older ones say where they end
        yield Frame(view[begin:end], following)
        begin = end


class CurrentBatch(DefaultRecordBatch):  # type: ignore[misc]
    """A batch of the format of Kafka 0.11 and later, read record by record."""

    def records(self) -> Iterator[RawRecord]:
        """Yield the messages, with offsets that rise.

        :raises RecordBatchError: where it cannot be decoded further.
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
                        f"record {number} says that its offset is {record.offset}; one from "
                        f"{least} to {self.last_offset} was expected"
                    )
                if size > len(kept):
                    _skip(stream, size - len(kept))
                least = record.offset + 1
                yield record
            if read_some(stream, 1):
                raise RecordBatchError(f"bytes follow its {self.records_count} records")

    def _record(self, body: bytes, size: int) -> RawRecord:
        """Return one record; of `size` bytes, `body` are there."""
        try:
            delta, place = decode_varint(body, 1)
            offset_delta, place = decode_varint(body, place)
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
            key, value, headers = _fields(body, place)
        except (ValueError, IndexError) as error:
            reason = str(error) if isinstance(error, _DamagedRecordError) else "it ends too early"
            said = f"the record cannot be read: {reason}; its bytes are kept as in the batch"
            return RawRecord(offset, timestamp, None, body[:KEPT_BYTES], (), said)
        return RawRecord(offset, timestamp, key, value, headers)


class LegacyBatch(LegacyRecordBatch):  # type: ignore[misc]
    """A message, or a compressed set of messages, of a format before Kafka 0.11."""

    @property
    def last_offset(self) -> int:
        """The offset of its last message: in these formats what a batch begins with."""
        return int(self.base_offset)

    def records(self) -> Iterator[RawRecord]:
        """Yield the messages.

        :raises RecordBatchError: where it cannot be decoded.
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
        # In place of kafka-python's own, which has no limit.
        place = key_offset
        for _ in range(2):
            [size] = struct.unpack_from(">i", self._buffer, place)
            begin, place = place + 4, place + 4 + max(size, 0)
        with decompressed(self.compression_type, self._buffer[begin:place]) as stream:
            data = read_some(stream, MAX_RECORD_BYTES + 1)
        if len(data) > MAX_RECORD_BYTES:
            raise RecordBatchError(f"it decompresses to more than {MAX_RECORD_BYTES} bytes")
        return data


def open_batch(frame: Frame) -> CurrentBatch | LegacyBatch:
    """Return a batch whose checksum is right.

    :raises RecordBatchError: if it is not, or if its format is not known.
    """
    base, length, _, magic = _FRAME.unpack_from(frame.data)
    if length + 12 != len(frame.data):
        raise RecordBatchError(f"it says that it is {length} bytes long, which cannot be")
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
    """Return the offsets from `position` on of a batch whose header is not to be trusted.

    It ends where two fields of the header agree that it does, or where the next batch begins. Where
    neither is known, it has the next offset alone: the broker gives the same batch again as long as
    what is asked for may lie in it.
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
    """Yield what stands for some offsets of a batch, which cannot be read; at least one.

    The first holds the batch's bytes, a MiB of them at most.
    """
    begin, last = offsets[0], offsets[-1]
    which = f"offsets {begin} to {last}" if last > begin else f"offset {begin}"
    error = f"the record batch with {which} cannot be read: {reason}"
    data = bytes(frame.data[:KEPT_BYTES])
    cut = f", the first {len(data)} of {len(frame.data)} bytes" * (len(data) < len(frame.data))
    yield RawRecord(begin, -1, None, data, (), f"{error}; here are the batch's bytes{cut}")
    if len(offsets) > _MOST_OFFSETS:
        return
    for offset in offsets[1:]:
        said = f"{error}; the batch's bytes are in the dead letter of offset {begin}"
        yield RawRecord(offset, -1, None, b"", (), said)


class _DamagedRecordError(ValueError):
    """A record whose fields contradict each other; says how."""


def _fields(body: bytes, place: int) -> tuple[bytes | None, bytes | None, Headers]:
    """Return key, value and headers, which begin at `place` of a record."""
    key, place = _bytes(body, place)
    value, place = _bytes(body, place)
    count, place = decode_varint(body, place)
    if not 0 <= count <= MAX_HEADERS:
        raise _DamagedRecordError(
            f"it says that it has {count} headers, and 0 to {MAX_HEADERS} are read"
        )
    headers = []
    for _ in range(count):
        name, place = _bytes(body, place)
        content, place = _bytes(body, place)
        if name is None:
            raise _DamagedRecordError("a header has no key")
        headers.append((header_key(name), content))
    if place != len(body):
        raise _DamagedRecordError(f"its fields take {place} of its {len(body)} bytes")
    return key, value, tuple(headers)


def _bytes(body: bytes, place: int) -> tuple[bytes | None, int]:
    size, place = decode_varint(body, place)
    if size < 0:
        return None, place
    end = place + size
    if end > len(body):
        raise _DamagedRecordError("a field reaches beyond its end")
    return body[place:end], end


def _size(stream: io.BufferedIOBase, number: int) -> tuple[int, int]:
    """Return the length of the next record, and how many bytes said so."""
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
