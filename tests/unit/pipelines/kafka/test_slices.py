"""Cutting a partition's records into slices of blocks."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.blocks.keys import BlockKey
from pipelines.kafka import slices as slices_module
from pipelines.kafka.batches import Headers, RawRecord
from pipelines.kafka.slices import RawSlice, SliceCutter

BLOCK = 10


def message(
    offset: int,
    *,
    timestamp: int = 0,
    key: bytes | None = None,
    value: bytes | None = b"x",
    headers: Headers = (),
) -> RawRecord:
    return RawRecord(offset, timestamp, key, value, headers)


def cutter(begin: int = 0, *, base: int | None = None) -> SliceCutter:
    return SliceCutter(
        topic="t",
        partition=3,
        block_size=BLOCK,
        input_digest="kafka:c:t",
        base=begin if base is None else base,
        begin=begin,
    )


def offsets(part: RawSlice) -> list[int]:
    return [record.offset for record in part.records]


def test_a_full_block_is_given_back_at_once() -> None:
    cut = cutter()
    found = list(cut.add([message(x) for x in range(12)], 12, now=5.0))
    assert [(x.begin, x.end, offsets(x)) for x in found] == [(0, 10, list(range(10)))]
    assert found[0].header.key == BlockKey("t", 3, 0)
    assert (cut.begin, cut.position, cut.opened_at) == (10, 12, 5.0)
    [rest] = cut.flush()
    assert (rest.begin, rest.end, offsets(rest)) == (10, 12, [10, 11])
    assert rest.header.key == BlockKey("t", 3, 10)
    assert list(cut.flush()) == []


def test_a_slice_may_begin_within_a_block() -> None:
    cut = cutter(4, base=1)
    assert [x.begin for x in cut.add([message(4), message(9)], 10, now=0.0)] == [4]
    assert cut.begin == 10
    [part] = cutter(4, base=1).add([message(9)], 10, now=0.0)
    assert (part.begin, part.end, part.header.base, part.header.key.start) == (4, 10, 1, 0)


def test_a_gap_closes_the_block_before_it_and_is_a_slice_of_its_own() -> None:
    cut = cutter()
    found = list(cut.add([message(3), message(57)], 58, now=0.0))
    assert [(x.begin, x.end, offsets(x)) for x in found] == [(0, 10, [3]), (10, 50, [])]
    assert [offsets(x) for x in cut.flush()] == [[57]]


def test_positions_alone_move_it_on() -> None:
    cut = cutter()
    assert list(cut.add([], 7, now=2.0)) == []
    assert cut.opened_at == 2.0
    [part] = cut.flush()
    assert (part.begin, part.end, part.records, part.timestamp) == (0, 7, (), -1)
    assert [(x.begin, x.end) for x in cut.add([], 35, now=3.0)] == [(7, 30)]


def test_what_was_taken_before_is_passed_over() -> None:
    cut = cutter()
    list(cut.add([message(0), message(1)], 2, now=0.0))
    list(cut.add([message(1), message(2)], 3, now=0.0))
    [part] = cut.flush()
    assert offsets(part) == [0, 1, 2]


def test_the_oldest_record_gives_the_timestamp() -> None:
    cut = cutter()
    list(cut.add([message(0, timestamp=50), message(1, timestamp=20)], 2, now=0.0))
    assert cut.oldest == 50
    [part] = cut.flush()
    assert part.timestamp == 20
    assert cut.oldest is None


def test_memory_is_bounded_by_bytes_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slices_module, "MAX_POLL_BYTES", 25)
    cut = cutter()
    found = list(cut.add([message(x, value=b"0123456789") for x in range(7)], 7, now=0.0))
    assert [offsets(x) for x in found] == [[0, 1, 2], [3, 4, 5]]
    assert [(x.begin, x.end) for x in found] == [(0, 3), (3, 6)]


def test_keys_and_headers_count_as_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slices_module, "MAX_POLL_BYTES", 1000)
    for fields in (
        {"key": b"k" * 500},
        {"headers": (("h", b"v" * 500),)},
        {"headers": (("h" * 500, None),)},
        {"headers": (("h", b""),) * 4},
    ):
        cut = cutter()
        found = list(cut.add([message(x, value=b"", **fields) for x in range(7)], 7, now=0.0))
        assert [offsets(x) for x in found] == [[0, 1], [2, 3], [4, 5]], fields


@given(
    begin=st.integers(0, 35),
    steps=st.lists(
        st.tuples(st.lists(st.integers(0, 12), max_size=8), st.integers(0, 25), st.booleans()),
        max_size=12,
    ),
)
def test_slices_cover_everything_once_and_in_order(
    begin: int, steps: list[tuple[list[int], int, bool]]
) -> None:
    cut, at = cutter(begin), begin
    given_in: list[int] = []
    found: list[RawSlice] = []
    for gaps, skip, flush in steps:
        records = []
        for gap in gaps:
            records.append(message(at + gap))
            at += gap + 1
        at += skip
        given_in += [record.offset for record in records]
        found += cut.add(records, at, now=0.0)
        if flush:
            found += cut.flush()
    found += cut.flush()
    assert [offset for part in found for offset in offsets(part)] == given_in
    ends = [begin, *(part.end for part in found)]
    assert [part.begin for part in found] == ends[:-1]
    assert ends[-1] == at
    for part in found:
        assert part.begin < part.end
        if part.records:
            assert part.header.key.start <= part.begin < part.end <= part.header.key.start + BLOCK
            assert all(part.begin <= x < part.end for x in offsets(part))
