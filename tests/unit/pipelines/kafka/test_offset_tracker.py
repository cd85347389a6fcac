"""The contiguous prefix of what is written."""

import random

from hypothesis import given
from hypothesis import strategies as st

from pipelines.kafka.offset_tracker import Progress


def test_a_gap_holds_the_prefix_back_until_it_is_filled() -> None:
    progress = Progress(10).cover(20, 30)
    assert (progress.prefix, progress.pending) == (10, ((20, 30),))
    progress = progress.cover(10, 20)
    assert (progress.prefix, progress.pending) == (30, ())


def test_what_lies_before_the_prefix_changes_nothing() -> None:
    progress = Progress(10, committed=10)
    assert progress.cover(3, 9) == progress
    assert progress.cover(3, 12).prefix == 12


@given(st.lists(st.integers(1, 9), max_size=20), st.integers(0, 100), st.randoms())
def test_any_order_with_repeats_ends_at_the_end(
    lengths: list[int], base: int, order: random.Random
) -> None:
    parts, at = [], base
    for length in lengths:
        parts.append((at, at + length))
        at += length
    given_in = parts + [part for part in parts if order.random() < 0.3]
    order.shuffle(given_in)
    progress = Progress(base)
    before = base
    for begin, end in given_in:
        progress = Progress.from_json(progress.cover(begin, end).to_json())
        assert progress.prefix >= before
        before = progress.prefix
    assert (progress.prefix, progress.pending) == (at, ())
