"""Classification of errors: gold and predicted spans of a text are paired and classified.

The classes are those of Nejadgholi, Fraser and de Bruijn (2020, "Extensive Error Analysis and a
Learning-Based Evaluation of Medical Entity Recognition Systems", doi:10.18653/v1/2020.bionlp-1.19):
right label and overlapping span, wrong label and right span, wrong label and overlapping span,
missed, and spurious. As in the scoring of the Message Understanding Conferences
(Chinchor and Sundheim, 1993, "MUC-5 Evaluation Metrics"), a gold mention is paired with at most one
predicted mention, so that every mention of either side has exactly one outcome and the counts of
the outcomes add up to those of the strict scores.
"""

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum

from schemas.records import Span


class Outcome(StrEnum):
    """The outcome of the comparison of a mention.

    A gold mention has any outcome but SPURIOUS, a predicted mention any but MISS.
    """

    CORRECT = "correct"
    BOUNDARY = "boundary"
    TYPE = "type"
    BOUNDARY_AND_TYPE = "boundary-and-type"
    MISS = "miss"
    SPURIOUS = "spurious"


ERRORS = tuple(outcome for outcome in Outcome if outcome != Outcome.CORRECT)
"""The outcomes that are errors, in order."""


class Edge(StrEnum):
    """The position of a predicted mention's start or end, relative to its paired gold mention."""

    EXACT = "exact"
    SHORT = "too short"
    LONG = "too long"


@dataclass(frozen=True, slots=True)
class Comparison:
    """A pair of a gold and a predicted mention, or an unpaired mention.

    `gold` is None for SPURIOUS, `found` for MISS. `touches` is True if an unpaired mention overlaps
    one of the other side that was paired with another: one predicted mention over two gold ones, or
    two over one.
    """

    outcome: Outcome
    gold: Span | None = None
    found: Span | None = None
    touches: bool = False

    @property
    def extent(self) -> tuple[int, int]:
        """The half-open range of the text that the mentions cover."""
        spans = [span for span in (self.gold, self.found) if span is not None]
        return min(span.start for span in spans), max(span.end for span in spans)

    @property
    def left(self) -> Edge:
        """The left edge of the predicted mention: SHORT if it starts late, LONG if early."""
        if self.gold is None or self.found is None:
            return Edge.EXACT
        return _edge(self.found.start - self.gold.start)

    @property
    def right(self) -> Edge:
        """The right edge of the predicted mention: SHORT if it ends early, LONG if late."""
        if self.gold is None or self.found is None:
            return Edge.EXACT
        return _edge(self.gold.end - self.found.end)


def _edge(lacking: int) -> Edge:
    if lacking > 0:
        return Edge.SHORT
    return Edge.LONG if lacking < 0 else Edge.EXACT


def overlap(first: Span, second: Span) -> int:
    """Return the number of code points in both spans."""
    return max(0, min(first.end, second.end) - max(first.start, second.start))


def compare_spans(gold: Collection[Span], found: Collection[Span]) -> tuple[Comparison, ...]:
    """Pair the mentions of one text and classify each, in the order of the text.

    Equal spans are correct. Of the others, overlapping ones are paired greedily: first the pair
    with the largest Jaccard index of code points, at a tie the one with the same label, then the
    leftmost. An unpaired gold mention is a miss, an unpaired predicted one is spurious. Duplicate
    spans count once, as in the strict scores.
    """
    correct = set(gold) & set(found)
    gold_left = sorted(set(gold) - correct)
    found_left = sorted(set(found) - correct)
    comparisons = [Comparison(Outcome.CORRECT, span, span) for span in correct]
    pairs = sorted(
        (
            (-_jaccard(true, span), true.label != span.label, true, span)
            for true in gold_left
            for span in found_left
            if overlap(true, span)
        ),
    )
    taken_gold: set[Span] = set()
    taken_found: set[Span] = set()
    for _, _, true, span in pairs:
        if true not in taken_gold and span not in taken_found:
            taken_gold.add(true)
            taken_found.add(span)
            comparisons.append(Comparison(_paired_outcome(true, span), true, span))
    comparisons += [
        Comparison(Outcome.MISS, gold=true, touches=_touches(true, found))
        for true in gold_left
        if true not in taken_gold
    ]
    comparisons += [
        Comparison(Outcome.SPURIOUS, found=span, touches=_touches(span, gold))
        for span in found_left
        if span not in taken_found
    ]
    return tuple(sorted(comparisons, key=lambda one: (one.extent, one.outcome, str(one))))


def _jaccard(first: Span, second: Span) -> float:
    shared = overlap(first, second)
    return shared / (first.end - first.start + second.end - second.start - shared)


def _paired_outcome(gold: Span, found: Span) -> Outcome:
    if gold.label == found.label:
        return Outcome.BOUNDARY
    if (gold.start, gold.end) == (found.start, found.end):
        return Outcome.TYPE
    return Outcome.BOUNDARY_AND_TYPE


def _touches(span: Span, others: Collection[Span]) -> bool:
    return any(overlap(span, other) for other in others)
