"""Intervals of offsets."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.blocks.intervals import Intervals, contains, format_intervals, parse_intervals, union

OFFSETS = st.integers(0, 30)
INTERVALS = st.lists(st.tuples(OFFSETS, OFFSETS), max_size=8)


def offsets(intervals: Intervals) -> set[int]:
    return {x for begin, end in intervals for x in range(begin, end)}


@given(INTERVALS)
def test_a_union_is_what_its_offsets_are_in_as_few_intervals(given: list[tuple[int, int]]) -> None:
    found = union(given)
    assert offsets(found) == offsets(tuple(given))
    assert all(begin < end for begin, end in found)
    assert all(one[1] < two[0] for one, two in pairwise(found))
    assert parse_intervals(format_intervals(found)) == found


@given(INTERVALS, OFFSETS, OFFSETS)
def test_what_contains_an_interval_has_all_its_offsets(
    given: list[tuple[int, int]], begin: int, end: int
) -> None:
    found = union(given)
    assert contains(found, (begin, end)) == (set(range(begin, end)) <= offsets(found))


@pytest.mark.parametrize("text", ["x", "1", "1-2-3", "1-,2-3"])
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse_intervals(text)
