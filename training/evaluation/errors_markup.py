"""Segmentation of a sentence at the edges of gold and predicted mentions, for mark-up."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from schemas.records import Span
from training.evaluation.errors import Comparison, Outcome

_BEYOND = " …"


@dataclass(frozen=True, slots=True)
class Piece:
    """A segment of a sentence without an edge of a mention inside.

    `gold` and `found` are the outcomes of the gold and the predicted mention that cover it, None if
    there is none. `begins` are the outcomes of the comparisons that begin with this piece; `notes`
    are the labels of those that end with it.
    """

    text: str
    gold: Outcome | None = None
    found: Outcome | None = None
    begins: tuple[Outcome, ...] = ()
    notes: tuple[str, ...] = ()


def marked_pieces(
    text: str, comparisons: Sequence[Comparison], *, labelled: bool
) -> tuple[Piece, ...]:
    """Cut `text` at every edge of a mention of `comparisons`.

    The joined pieces are the text; a predicted mention that extends beyond it (see
    `training.evaluation.predict`) extends to an ellipsis after it. With `labelled` each mention has
    a note of its label, `gold → found` if they differ.
    """
    if any(one.extent[1] > len(text) for one in comparisons):
        text += _BEYOND
    size = len(text)
    clipped = [(one, _clip(one.gold, size), _clip(one.found, size)) for one in comparisons]
    ranges = [
        (one, min(start for start, _ in both), max(end for _, end in both))
        for one, gold, found in clipped
        for both in ([place for place in (gold, found) if place is not None],)
    ]
    cuts = sorted(
        {0, size}
        | {
            edge
            for _, gold, found in clipped
            for place in (gold, found)
            if place is not None
            for edge in place
        }
    )
    return tuple(
        Piece(
            text=text[start:end],
            gold=_covering([(gold, one.outcome) for one, gold, _ in clipped], start),
            found=_covering([(found, one.outcome) for one, _, found in clipped], start),
            begins=tuple(one.outcome for one, first, _ in ranges if first == start),
            notes=tuple(_note(one) for one, _, last in ranges if last == end) if labelled else (),
        )
        for start, end in pairwise(cuts)
    )


def _clip(span: Span | None, size: int) -> tuple[int, int] | None:
    if span is None:
        return None
    return min(span.start, size - 1), min(span.end, size)


def _covering(
    places: Sequence[tuple[tuple[int, int] | None, Outcome]], start: int
) -> Outcome | None:
    return next(
        (outcome for place, outcome in places if place and place[0] <= start < place[1]), None
    )


def _note(one: Comparison) -> str:
    labels = [span.label for span in (one.gold, one.found) if span is not None]
    return " → ".join(dict.fromkeys(labels))
