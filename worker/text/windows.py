"""Long texts as overlapping windows of word pieces, and windows in batches.

A text of more pieces than the encoder reads goes through several windows that overlap; each piece
is read in the window where it stands furthest from an edge that is not an edge of the text. So no
text is ever cut.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

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


def round_up(value: int, multiple: int) -> int:
    """Return the smallest multiple that is no less than `value`."""
    return -(-value // multiple) * multiple


def fill_batches(
    windows: Sequence[PieceWindow],
    max_rows: int,
    *,
    least_rows: int | None = None,
    to_longest: bool = False,
) -> Iterator[list[PieceWindow]]:
    """Group windows of like length into batches of at most `max_rows` word pieces.

    The longest come first, so that memory peaks at once. The grouping depends on the lengths and
    the order of `windows` alone.

    :param least_rows: let the last batches shrink to about this, a quarter of what is left each, so
        that cores that compute a batch each end together whatever their number (guided
        self-scheduling, Polychronopoulos & Kuck 1987)
    :param to_longest: a window counts as many word pieces as the longest of its batch
    """
    ordered = sorted(windows, key=lambda window: -window.length)
    left = sum(window.length for window in ordered)
    batch: list[PieceWindow] = []
    rows, room = 0, max_rows
    for window in ordered:
        span = (batch[0] if batch and to_longest else window).length
        if batch and rows + span > room:
            yield batch
            batch, rows = [], 0
            span = window.length
        if not batch and least_rows is not None:
            room = min(max_rows, max(least_rows, left // 4))
        batch.append(window)
        rows += span
        left -= window.length
    if batch:
        yield batch


def split_runs(sizes: Sequence[int], most: int) -> Iterator[slice]:
    """Cut neighbours into runs of at most `most` together; what is larger is a run of its own."""
    begin, total = 0, 0
    for number, size in enumerate(sizes):
        if number > begin and total + size > most:
            yield slice(begin, number)
            begin, total = number, 0
        total += size
    if begin < len(sizes):
        yield slice(begin, len(sizes))
