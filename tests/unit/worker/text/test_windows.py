"""Windows over long texts, and batches of them."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.text.windows import (
    SPECIAL_PIECES,
    PieceWindow,
    cut_windows,
    fill_batches,
    round_up,
    split_runs,
)


@given(pieces=st.integers(0, 5000), room=st.integers(8, 510), overlap=st.integers(0, 7))
def test_every_piece_is_kept_by_exactly_one_window(pieces: int, room: int, overlap: int) -> None:
    windows = cut_windows(3, pieces, room + SPECIAL_PIECES, overlap)
    kept = [piece for w in windows for piece in range(w.keep_start, w.keep_stop)]
    assert kept == list(range(pieces))
    for window in windows:
        assert window.start <= window.keep_start <= window.keep_stop <= window.stop <= pieces
        assert window.length <= room + SPECIAL_PIECES
        assert window.text == 3
    for left, right in pairwise(windows):
        assert left.stop - right.start >= overlap


@given(pieces=st.integers(511, 5000))
def test_a_seam_is_far_from_both_windows_edges(pieces: int) -> None:
    windows = cut_windows(0, pieces, 512, 128)
    for left, right in pairwise(windows):
        assert left.stop - left.keep_stop >= 63
        assert right.keep_start - right.start >= 63


def test_an_overlap_without_room_is_refused() -> None:
    with pytest.raises(ValueError, match="overlap of 20"):
        cut_windows(0, 100, 20, 20)


@given(
    lengths=st.lists(st.integers(1, 300), max_size=50),
    budget=st.integers(320, 2000),
    least=st.sampled_from([None, 64, 512]),
)
def test_batches_hold_every_window_within_the_budget(
    lengths: list[int], budget: int, least: int | None
) -> None:
    windows = [PieceWindow(n, 0, length, 0, length) for n, length in enumerate(lengths)]
    batches = list(fill_batches(windows, budget, least_rows=least))
    assert sorted(w.text for batch in batches for w in batch) == list(range(len(lengths)))
    for batch in batches:
        assert sum(w.length for w in batch) <= budget


def test_the_last_batches_shrink_so_that_cores_end_together() -> None:
    windows = [PieceWindow(n, 0, 62, 0, 62) for n in range(128)]  # 64 rows each
    sizes = [64 * len(batch) for batch in fill_batches(windows, 2048, least_rows=256)]
    assert sizes == [2048, 1536, 1152, 832, 640, 448, 384, *[256] * 4, 128]


@given(lengths=st.lists(st.integers(1, 300), max_size=50), budget=st.integers(310, 2000))
def test_batches_that_are_padded_to_the_longest_keep_to_the_budget_so(
    lengths: list[int], budget: int
) -> None:
    windows = [PieceWindow(n, 0, length, 0, length) for n, length in enumerate(lengths)]
    batches = list(fill_batches(windows, budget, to_longest=True))
    assert sorted(w.text for batch in batches for w in batch) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) * max(w.length for w in batch) <= budget


@pytest.mark.parametrize(
    ("value", "multiple", "expected"), [(1, 16, 16), (16, 16, 16), (17, 16, 32)]
)
def test_rounding_up(value: int, multiple: int, expected: int) -> None:
    assert round_up(value, multiple) == expected


@given(sizes=st.lists(st.integers(0, 30), max_size=40), most=st.integers(1, 50))
def test_runs_hold_all_neighbours_within_the_bound(sizes: list[int], most: int) -> None:
    runs = [sizes[run] for run in split_runs(sizes, most)]
    assert [size for run in runs for size in run] == sizes
    assert all(sum(run) <= most or len(run) == 1 for run in runs)
    assert all(sum(a) + b[0] > most for a, b in pairwise(runs)), "none is shorter than it could be"
