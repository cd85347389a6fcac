"""Record batches as messages, whatever they hold."""

import gzip
import random
import struct
from collections.abc import Callable
from contextlib import suppress

import pytest
from kafka.record.legacy_records import LegacyRecordBatchBuilder

from pipelines.kafka import batches as batches_module
from pipelines.kafka.batches import (
    MAX_HEADERS,
    RawRecord,
    damaged_offsets,
    frames,
    open_batch,
    undecoded,
)
from schemas.errors import RecordBatchError
from schemas.records import header_key_bytes
from tests.support import batches as made

CODECS = {"none": 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}


def messages(data: bytes) -> list[RawRecord]:
    [frame] = frames(data)
    return list(open_batch(frame).records())


def refusal(data: bytes) -> str:
    with pytest.raises(RecordBatchError) as caught:
        messages(data)
    return str(caught.value)


@pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS)
def test_messages_are_read_as_they_were_sent(codec: int) -> None:
    found = messages(made.batch(300, base=70, codec=codec, headers=[(b"h", b"v"), (b"n", None)]))
    assert found == [
        RawRecord(70 + x, 1_000 + x, b"%d" % x, b"value %d" % x, (("h", b"v"), ("n", None)))
        for x in range(300)
    ]


@pytest.mark.parametrize(
    "key", [b"\xff\xfe\x80", b"\xe9tat", b"\xed\xa0\x80", b"", b"\0", "é".encode()]
)
def test_a_header_key_is_kept_byte_for_byte(key: bytes) -> None:
    [found] = messages(made.batch(1, headers=[(key, b"1"), (key, b"2")]))
    assert [(header_key_bytes(name), value) for name, value in found.headers] == [
        (key, b"1"),
        (key, b"2"),
    ]


def test_a_codec_that_is_not_known_is_named() -> None:
    assert "compression codec 6 is not known" in refusal(made.with_codec(made.batch(3), 6))


@pytest.mark.parametrize("codec", list(CODECS.values())[1:], ids=list(CODECS)[1:])
def test_what_cannot_be_decompressed_is_said(codec: int) -> None:
    garbage = made.with_codec(made.with_records(made.batch(3), b"\xff\x01garbage" * 9), codec)
    assert "snappy" in refusal(garbage) or "cannot be decompressed" in refusal(garbage)
    whole = made.batch(300, codec=codec)
    cut = made.with_records(whole, whole[made.HEADER_BYTES : -20])
    [frame] = frames(cut)
    with pytest.raises(RecordBatchError):
        list(open_batch(frame).records())


@pytest.mark.parametrize("place", [21, 40, 61, -1])
def test_a_wrong_checksum_is_found(place: int) -> None:
    data = bytearray(made.batch(3))
    data[place] ^= 1
    assert "checksum" in refusal(bytes(data))


def test_a_format_to_come_is_named() -> None:
    data = bytearray(made.batch(3))
    data[16] = 3
    assert "format 3 is not known" in refusal(bytes(data))


def test_offsets_that_do_not_rise_are_refused() -> None:
    two = made.batch(2)
    field = made.varint(-1)
    same = made.record(1, field + field + made.varint(0)) * 2
    assert "has offset 1; one from 2" in refusal(made.with_records(two, same))
    beyond = made.record(0, field + field + made.varint(0)) + made.record(9, field * 2 + b"\0")
    assert "has offset 9; one from 1" in refusal(made.with_records(two, beyond))


@pytest.mark.parametrize(
    "rest",
    [
        made.varint(100) + b"x",
        made.varint(-1) + made.varint(2**40),
        made.varint(-1) * 2 + made.varint(MAX_HEADERS + 1) + b"\0" * 100,
        made.varint(-1) * 2 + made.varint(-5),
        made.varint(-1) * 2 + made.varint(1) + made.varint(-1) * 2,
        made.varint(-1) * 2 + made.varint(0) + b"more",
        b"",
        b"\xff" * 30,
    ],
)
def test_one_damaged_record_costs_its_neighbours_nothing(rest: bytes) -> None:
    field = made.varint(1) + b"k" + made.varint(1) + b"v" + made.varint(0)
    records = made.record(0, field) + made.record(1, rest) + made.record(2, field)
    first, damaged, last = messages(made.with_records(made.batch(3), records))
    assert (first.value, last.value, damaged.offset) == (b"v", b"v", 1)
    assert damaged.error.startswith("the record cannot be read: ")
    assert damaged.value is not None
    assert damaged.value.endswith(rest)


def test_a_record_over_the_limit_is_cut_and_the_next_one_is_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(batches_module, "MAX_RECORD_BYTES", 5_000)
    monkeypatch.setattr(batches_module, "KEPT_BYTES", 1_000)
    field = made.varint(-1) + made.varint(6_000) + b"z" * 6_000 + made.varint(0)
    long = made.record(0, field)
    records = gzip.compress(long + made.record(1, made.varint(-1) * 2 + b"\0"))
    data = made.with_codec(made.with_records(made.batch(2), records), 1)
    cut, after = messages(data)
    assert cut.value == long[2:1_002]
    assert f"has {len(long) - 2} bytes, and at most 5000 are read" in cut.error
    assert (after.offset, after.error, after.value) == (1, "", None)


def test_a_bomb_is_not_inflated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches_module, "MAX_BATCH_BYTES", 2**20)
    records = gzip.compress(made.varint(2**30) + b"\0" * 2**20)
    bomb = made.with_codec(made.with_records(made.batch(1), records), 1)
    assert "decompresses to more than" in refusal(bomb)
    block = b"\x80\x80\x80\x80\x0f" + b"\0" * 20  # a snappy block that says it holds 4 GiB
    said = refusal(made.with_codec(made.with_records(made.batch(1), block), 2))
    assert "snappy data has 4026531840 bytes" in said


def test_messages_before_the_damage_are_read() -> None:
    field = made.varint(-1) * 2 + made.varint(0)
    records = made.record(0, field) + made.record(1, field) + b"\x81" * 9
    [frame] = frames(made.with_records(made.batch(4), records))
    found = open_batch(frame).records()
    assert [next(found).offset, next(found).offset] == [0, 1]
    with pytest.raises(RecordBatchError, match="length of record 2 is damaged"):
        next(found)


def test_a_count_that_is_wrong_is_refused() -> None:
    whole = made.batch(3)
    records = made.plain_records(whole)
    assert "bytes follow its 2 records" in refusal(made.with_records(whole, records, count=2))
    assert "ends within a record" in refusal(made.with_records(whole, records, count=4))


def test_what_stands_for_a_batch_names_its_offsets_and_keeps_its_bytes() -> None:
    data = made.batch(3, base=5)
    [frame] = frames(data)
    first, *others = undecoded(frame, range(5, 8), RecordBatchError("why"))
    assert first.value == data
    assert "offsets 5 to 7 cannot be read: why" in first.error
    assert [(x.offset, x.value) for x in others] == [(6, b""), (7, b"")]
    assert all("dead letter of offset 5" in x.error for x in others)


def damaged(data: bytes, place: int, *behind: bytes) -> Callable[[int], list[int]]:
    changed = bytearray(data)
    changed[place] ^= 0x55
    frame = next(frames(bytes(changed) + b"".join(behind)))
    return lambda position: list(damaged_offsets(frame, position))


def test_a_damaged_batch_ends_where_its_header_agrees_or_the_next_begins() -> None:
    data, behind = made.batch(3, base=5), made.batch(2, base=8)
    payload, last_delta = 70, 26
    assert damaged(data, payload)(5) == [5, 6, 7]
    assert damaged(data, payload, behind)(0) == [5, 6, 7]
    assert damaged(data, payload, behind)(6) == [6, 7]
    assert damaged(data, payload, behind)(8) == []
    assert damaged(data, last_delta, behind)(5) == [5, 6, 7]
    assert damaged(data, last_delta)(5) == [5]
    assert damaged(data, last_delta)(6) == [6]


def test_messages_of_old_formats_are_read() -> None:
    for magic in (0, 1):
        for codec in (0, 1, 2):
            builder = LegacyRecordBatchBuilder(
                magic=magic, compression_type=codec, batch_size=2**20
            )
            for number in range(3):
                builder.append(number, 1_000, b"k", b"v%d" % number)
            data = bytes(builder.build())
            if codec:  # the wrapper bears the last message's offset
                data = struct.pack(">q", 12 if magic else 2) + data[8:]
            found = [x for frame in frames(data) for x in open_batch(frame).records()]
            assert [x.value for x in found] == [b"v0", b"v1", b"v2"]
            if codec and magic:
                assert [x.offset for x in found] == [10, 11, 12]


def test_any_bytes_end_in_messages_or_one_error() -> None:
    rng = random.Random(11)
    seeds = [made.batch(5, codec=codec, headers=[(b"h", b"v")]) for codec in range(5)]
    for _ in range(4_000):
        data = bytearray(rng.choice(seeds))
        for _ in range(rng.randrange(1, 6)):
            data[rng.randrange(17, len(data))] = rng.randrange(256)
        with suppress(RecordBatchError):
            for frame in frames(made.with_crc(bytes(data))):
                list(open_batch(frame).records())
