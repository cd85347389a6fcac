"""Long texts as overlapping windows of word pieces, and windows as padded batches.

A text of more pieces than the encoder reads goes through several windows that overlap; each piece
is read in the window where it stands furthest from an edge that is not an edge of the text. So no
text is ever cut.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from worker.tokenisation import WordPieces

SPECIAL_PIECES = 2
"""Every window is framed by a start and an end piece."""


@dataclass(frozen=True, slots=True)
class PieceWindow:
    """Pieces `start` to `stop` of text number `text`; read from `keep_start` to `keep_stop`."""

    text: int
    start: int
    stop: int
    keep_start: int
    keep_stop: int

    @property
    def length(self) -> int:
        """The window's length in word pieces, special ones included."""
        return self.stop - self.start + SPECIAL_PIECES


def cut_windows(text: int, pieces: int, max_pieces: int, overlap: int) -> list[PieceWindow]:
    """Cover `pieces` word pieces of a text with windows of at most `max_pieces`, special ones in.

    :param overlap: how many pieces two neighbours share at least; half of it is read by each
    :raises ValueError: if the overlap leaves no room for progress.
    """
    room = max_pieces - SPECIAL_PIECES
    if not 0 <= overlap < room:
        raise ValueError(f"an overlap of {overlap} word pieces does not fit windows of {room}")
    if pieces <= room:
        return [PieceWindow(text, 0, pieces, 0, pieces)] if pieces else []
    count = -(-(pieces - overlap) // (room - overlap))
    starts = [round(number * (pieces - room) / (count - 1)) for number in range(count)]
    seams = [0]
    for left, right in pairwise(starts):
        seams.append((left + room + right) // 2)
    seams.append(pieces)
    return [
        PieceWindow(text, start, start + room, seams[number], seams[number + 1])
        for number, start in enumerate(starts)
    ]


def fill_batches(
    windows: Sequence[PieceWindow], max_batch_pieces: int
) -> Iterator[list[PieceWindow]]:
    """Group windows of like length into batches of at most `max_batch_pieces`, padding included.

    The longest come first, so that memory peaks at once. The grouping depends on the lengths and
    the order of `windows` alone.
    """
    ordered = sorted(windows, key=lambda window: -window.length)
    batch: list[PieceWindow] = []
    for window in ordered:
        if batch and (len(batch) + 1) * batch[0].length > max_batch_pieces:
            yield batch
            batch = []
        batch.append(window)
    if batch:
        yield batch


@dataclass(frozen=True, slots=True, eq=False)
class PaddedBatch:
    """Arrays of shape (windows, pieces): `ids`, `case` (token types), `mask` and `select`.

    `select` is true at the pieces whose tags are read: first pieces of pre-tokens in the part of
    the window that is kept. `counts` says how many of them each window has.
    """

    ids: npt.NDArray[np.int64]
    case: npt.NDArray[np.int64]
    mask: npt.NDArray[np.bool_]
    select: npt.NDArray[np.bool_]
    counts: npt.NDArray[np.int64]


def pad_batch(
    windows: Sequence[PieceWindow],
    texts: Sequence[WordPieces],
    *,
    start_id: int,
    end_id: int,
    pad_id: int,
    width: int | None = None,
) -> PaddedBatch:
    """Lay windows into padded arrays, framed by special pieces; `width` defaults to the longest."""
    shape = (len(windows), width or max(window.length for window in windows))
    ids = np.full(shape, pad_id, dtype=np.int64)
    case = np.zeros(shape, dtype=np.int64)
    mask = np.zeros(shape, dtype=np.bool_)
    select = np.zeros(shape, dtype=np.bool_)
    for row, window in enumerate(windows):
        pieces = texts[window.text]
        inside = slice(1, window.length - 1)
        ids[row, 0] = start_id
        ids[row, inside] = pieces.ids[window.start : window.stop]
        ids[row, window.length - 1] = end_id
        case[row, inside] = pieces.case[window.start : window.stop]
        mask[row, : window.length] = True
        kept = slice(window.keep_start - window.start + 1, window.keep_stop - window.start + 1)
        select[row, kept] = pieces.first[window.keep_start : window.keep_stop]
    return PaddedBatch(ids, case, mask, select, select.sum(axis=1))
