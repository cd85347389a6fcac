"""Overlapping windows of word pieces over long texts, and batches of windows.

A text with more pieces than the encoder's maximum is split into overlapping windows; the tags of
each piece come from the window in which it is furthest from an edge that is not an edge of the
text. So no text is ever truncated.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

SPECIAL_PIECES = 2
"""Every window is framed by a start and an end piece."""


@dataclass(frozen=True, slots=True)
class PieceWindow:
    """Pieces `start` to `stop` of text number `text`; `keep_start` to `keep_stop` give the tags."""

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

    :param overlap: the least number of pieces that two neighbours have in common; each window
        keeps the tags of half of it
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
    """Return the smallest multiple of `multiple` that is at least `value`."""
    return -(-value // multiple) * multiple


def fill_batches(
    windows: Sequence[PieceWindow],
    max_rows: int,
    *,
    least_rows: int | None = None,
    to_longest: bool = False,
) -> Iterator[list[PieceWindow]]:
    """Group windows of similar length into batches of at most `max_rows` word pieces.

    The longest come first, so that memory peaks at once. The grouping depends only on the lengths
    and the order of `windows`.

    :param least_rows: let the last batches shrink to about this size, each a quarter of the
        remaining rows, so that any number of cores that compute a batch each end together (guided
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
    """Split consecutive items into runs of total size at most `most`; larger items are alone."""
    begin, total = 0, 0
    for number, size in enumerate(sizes):
        if number > begin and total + size > most:
            yield slice(begin, number)
            begin, total = number, 0
        total += size
    if begin < len(sizes):
        yield slice(begin, len(sizes))
