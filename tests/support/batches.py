"""Record batches as producers make them, and as disks, strangers and bombs do."""

import gzip
import struct
from collections.abc import Sequence

from kafka.record.default_records import DefaultRecordBatch, DefaultRecordBatchBuilder
from kafka.record.util import calc_crc32c, encode_varint

Header = tuple[bytes, bytes | None]
HEADER_BYTES = 61
_CRC_AT, _COVERED_FROM, _ATTRIBUTES_AT, _COUNT_AT = 17, 21, 21, 57


class RawKey(str):
    """A header's key of any bytes, for kafka-python's producer."""

    data: bytes

    def __new__(cls, data: bytes) -> "RawKey":
        made = super().__new__(cls, "key")
        made.data = data
        return made

    def encode(self, *_: object) -> bytes:
        return self.data


def batch(
    count: int,
    *,
    base: int = 0,
    codec: int = 0,
    headers: Sequence[Header] = (),
    value: bytes = b"value %d",
    producer_id: int = -1,
    transactional: bool = False,
) -> bytes:
    """Return a batch of `count` messages by kafka-python's builder, from offset `base` on."""
    builder = DefaultRecordBatchBuilder(
        magic=2,
        compression_type=codec,
        is_transactional=transactional,
        producer_id=producer_id,
        producer_epoch=0 if transactional else -1,
        base_sequence=0 if transactional else -1,
        batch_size=2**30,
    )
    named = [(RawKey(name), content) for name, content in headers]
    for number in range(count):
        content = value % number if b"%d" in value else value
        builder.append(number, 1_000 + number, b"%d" % number, content, named)
    return placed(bytes(builder.build()), base)


def placed(data: bytes, base: int) -> bytes:
    """Return a batch as a broker stores it at offset `base`."""
    return struct.pack(">q", base) + data[8:]


def with_crc(data: bytes) -> bytes:
    """Return a batch with the checksum and the length that it should have."""
    sized = data[:8] + struct.pack(">i", len(data) - 12) + data[12:]
    return sized[:_CRC_AT] + struct.pack(">I", calc_crc32c(sized[_COVERED_FROM:])) + sized[21:]


def with_codec(data: bytes, codec: int) -> bytes:
    """Return a batch that says that it is compressed by `codec`, whatever it is."""
    [attributes] = struct.unpack_from(">h", data, _ATTRIBUTES_AT)
    changed = struct.pack(">h", attributes & ~7 | codec)
    return with_crc(data[:_ATTRIBUTES_AT] + changed + data[_ATTRIBUTES_AT + 2 :])


def with_records(data: bytes, records: bytes, *, count: int | None = None) -> bytes:
    """Return a batch with other bytes instead of its records, or another count of them."""
    header = bytearray(data[:HEADER_BYTES])
    if count is not None:
        struct.pack_into(">i", header, _COUNT_AT, count)
    return with_crc(bytes(header) + records)


def record(offset_delta: int, rest: bytes, *, size: int | None = None) -> bytes:
    """Return the bytes of a record: what comes behind its offset is `rest`."""
    body = bytearray(b"\0")
    encode_varint(0, body.append)
    encode_varint(offset_delta, body.append)
    body += rest
    length = bytearray()
    encode_varint(len(body) if size is None else size, length.append)
    return bytes(length + body)


def varint(number: int) -> bytes:
    """Return a number as records hold it."""
    data = bytearray()
    encode_varint(number, data.append)
    return bytes(data)


def plain_records(data: bytes) -> bytes:
    """Return the records of a batch that is not compressed."""
    assert DefaultRecordBatch(data).compression_type == 0
    return data[HEADER_BYTES:]


def zeros_as_gzip(size: int) -> bytes:
    """Return so many zeros, compressed."""
    return gzip.compress(b"\0" * size, 9)
