"""Packed batches: windows end to end, hardly any padding, nothing lost."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from worker.text.packing import CPU_GRID, CUDA_GRID, FREE, PackedBatch, RowGrid, pack_batch
from worker.text.tokenisation import WordPieces
from worker.text.windows import PieceWindow


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
        line_lengths=np.array([np.count_nonzero(first)]),
    )


def pack(windows: list[PieceWindow], texts: list[WordPieces], grid: RowGrid = FREE) -> PackedBatch:
    return pack_batch(windows, texts, start_id=1, end_id=2, pad_id=0, grid=grid)


def test_each_window_is_framed_and_its_first_pieces_are_selected() -> None:
    texts = [pieces_of(1, 2), pieces_of(1)]
    batch = pack([PieceWindow(0, 0, 3, 0, 3), PieceWindow(1, 0, 1, 0, 1)], texts)
    assert batch.ids.tolist() == [1, 10, 11, 12, 2, 1, 10, 2]
    assert batch.positions.tolist() == [0, 1, 2, 3, 4, 0, 1, 2]
    assert batch.case.tolist() == [0, 0, 1, 2, 0, 0, 0, 0]
    assert batch.starts.tolist() == [0, 5]
    assert batch.lengths.tolist() == [5, 3]
    assert batch.select.tolist() == [1, 2, 6]
    assert batch.counts.tolist() == [2, 1]


def test_the_batch_alone_is_padded() -> None:
    texts = [pieces_of(1, 2), pieces_of(1)]
    windows = [PieceWindow(0, 0, 3, 0, 3), PieceWindow(1, 0, 1, 0, 1)]
    batch = pack(windows, texts, RowGrid(16))
    assert batch.starts.tolist() == [0, 5]
    assert batch.ids.tolist() == [1, 10, 11, 12, 2, 1, 10, 2, *[0] * 8]
    assert batch.positions.tolist() == [0, 1, 2, 3, 4, 0, 1, 2, *[0] * 8]
    assert batch.select.tolist() == [1, 2, 6]


def test_only_the_kept_part_of_a_window_is_selected() -> None:
    batch = pack([PieceWindow(0, 2, 6, 3, 5)], [pieces_of(1, 1, 1, 1, 1, 1)])
    assert batch.ids.tolist() == [1, 12, 13, 14, 15, 2]
    assert batch.select.tolist() == [2, 3]


@given(
    texts=st.lists(st.lists(st.integers(1, 4), min_size=1, max_size=60), min_size=1, max_size=20),
    grid=st.sampled_from([FREE, CPU_GRID, CUDA_GRID]),
)
def test_every_piece_has_one_row(texts: list[list[int]], grid: RowGrid) -> None:
    pieces = [pieces_of(*words) for words in texts]
    windows = [PieceWindow(n, 0, len(p), 0, len(p)) for n, p in enumerate(pieces)]
    batch = pack(windows, pieces, grid)
    assert len(batch.ids) % grid.batch == 0
    assert batch.counts.tolist() == [len(words) for words in texts]
    assert len(batch.select) == batch.counts.sum()
    for text, start, length in zip(pieces, batch.starts, batch.lengths, strict=True):
        rows = slice(start, start + length)
        assert batch.ids[rows].tolist() == [1, *text.ids.tolist(), 2]
        assert batch.positions[rows].tolist() == list(range(length))
    # Padding has positions that exist, whatever the encoder's longest.
    assert batch.positions.max() == batch.lengths.max() - 1
