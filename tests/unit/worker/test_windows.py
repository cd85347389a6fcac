"""Windows over long texts, and batches of them."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.tokenisation import WordPieces
from worker.windows import SPECIAL_PIECES, PieceWindow, cut_windows, fill_batches, pad_batch


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
    budget=st.integers(310, 2000),
)
def test_batches_hold_every_window_within_the_budget(lengths: list[int], budget: int) -> None:
    windows = [PieceWindow(n, 0, length, 0, length) for n, length in enumerate(lengths)]
    batches = list(fill_batches(windows, budget))
    assert sorted(w.text for batch in batches for w in batch) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) * max(w.length for w in batch) <= budget


def pieces_of(*words: int) -> WordPieces:
    """Return word pieces whose pre-tokens have as many pieces as `words` says."""
    first = np.array([n == 0 for size in words for n in range(size)], dtype=np.bool_)
    count = len(first)
    return WordPieces(
        ids=np.arange(10, 10 + count, dtype=np.int32),
        starts=np.arange(count, dtype=np.int32) * 2,
        ends=np.arange(count, dtype=np.int32) * 2 + 1,
        first=first,
        case=np.arange(count, dtype=np.uint8) % 4,
    )


def test_padding_frames_each_window_and_selects_first_pieces() -> None:
    texts = [pieces_of(1, 2), pieces_of(1)]
    windows = [PieceWindow(0, 0, 3, 0, 3), PieceWindow(1, 0, 1, 0, 1)]
    batch = pad_batch(windows, texts, start_id=1, end_id=2, pad_id=0)
    assert batch.ids.tolist() == [[1, 10, 11, 12, 2], [1, 10, 2, 0, 0]]
    assert batch.mask.tolist() == [[True] * 5, [True, True, True, False, False]]
    assert batch.select.tolist() == [[False, True, True, False, False], [False, True] + [False] * 3]
    assert batch.case.tolist() == [[0, 0, 1, 2, 0], [0, 0, 0, 0, 0]]
    assert batch.counts.tolist() == [2, 1]


def test_only_the_kept_part_of_a_window_is_selected() -> None:
    batch = pad_batch(
        [PieceWindow(0, 2, 6, 3, 5)], [pieces_of(1, 1, 1, 1, 1, 1)], start_id=1, end_id=2, pad_id=0
    )
    assert batch.ids.tolist() == [[1, 12, 13, 14, 15, 2]]
    assert batch.select.tolist() == [[False, False, True, True, False, False]]
