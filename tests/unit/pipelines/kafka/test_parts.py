"""Cutting a partition's records into parts of blocks."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.blocks import BlockKey
from pipelines.kafka import parts as parts_module
from pipelines.kafka.parts import PartCutter, RawPart

BLOCK = 10


@dataclass(frozen=True)
class Message:
    offset: int
    timestamp: int = 0
    key: bytes | None = None
    value: bytes | None = b"x"
    headers: tuple[tuple[str, bytes], ...] = ()


def cutter(begin: int = 0, *, base: int | None = None) -> PartCutter:
    return PartCutter(
        topic="t",
        partition=3,
        block_size=BLOCK,
        input_digest="kafka:c:t",
        base=begin if base is None else base,
        begin=begin,
    )


def offsets(part: RawPart) -> list[int]:
    return [record.offset for record in part.records]


def test_a_full_block_is_given_back_at_once() -> None:
    cut = cutter()
    found = list(cut.add([Message(x) for x in range(12)], 12, now=5.0))
    assert [(x.begin, x.end, offsets(x)) for x in found] == [(0, 10, list(range(10)))]
    assert found[0].key == BlockKey("t", 3, 0)
    assert (cut.begin, cut.position, cut.opened_at) == (10, 12, 5.0)
    [rest] = cut.flush()
    assert (rest.begin, rest.end, offsets(rest)) == (10, 12, [10, 11])
    assert rest.key == BlockKey("t", 3, 10)
    assert list(cut.flush()) == []


def test_a_part_may_begin_within_a_block() -> None:
    cut = cutter(4, base=1)
    assert [x.begin for x in cut.add([Message(4), Message(9)], 10, now=0.0)] == [4]
    assert cut.begin == 10
    [part] = cutter(4, base=1).add([Message(9)], 10, now=0.0)
    assert (part.begin, part.end, part.base, part.key.start) == (4, 10, 1, 0)


def test_a_gap_closes_the_block_before_it_and_is_a_part_of_its_own() -> None:
    cut = cutter()
    found = list(cut.add([Message(3), Message(57)], 58, now=0.0))
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
    list(cut.add([Message(0), Message(1)], 2, now=0.0))
    list(cut.add([Message(1), Message(2)], 3, now=0.0))
    [part] = cut.flush()
    assert offsets(part) == [0, 1, 2]


def test_the_oldest_record_gives_the_timestamp() -> None:
    cut = cutter()
    list(cut.add([Message(0, timestamp=50), Message(1, timestamp=20)], 2, now=0.0))
    assert cut.oldest == 50
    [part] = cut.flush()
    assert part.timestamp == 20
    assert cut.oldest is None


def test_memory_is_bounded_by_bytes_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts_module, "MOST_BYTES", 25)
    cut = cutter()
    found = list(cut.add([Message(x, value=b"0123456789") for x in range(7)], 7, now=0.0))
    assert [offsets(x) for x in found] == [[0, 1, 2], [3, 4, 5]]
    assert [(x.begin, x.end) for x in found] == [(0, 3), (3, 6)]


@given(
    begin=st.integers(0, 35),
    steps=st.lists(
        st.tuples(st.lists(st.integers(0, 12), max_size=8), st.integers(0, 25), st.booleans()),
        max_size=12,
    ),
)
def test_parts_cover_everything_once_and_in_order(
    begin: int, steps: list[tuple[list[int], int, bool]]
) -> None:
    cut, at = cutter(begin), begin
    given_in: list[int] = []
    found: list[RawPart] = []
    for gaps, skip, flush in steps:
        records = []
        for gap in gaps:
            records.append(Message(at + gap))
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
            assert part.key.start <= part.begin < part.end <= part.key.start + BLOCK
            assert all(part.begin <= x < part.end for x in offsets(part))
