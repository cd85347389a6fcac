"""Tallies of a checkpoint's output by day, and drift references made from them.

Scores are counted in `CELLS` cells of equal width in log-odds, which are fine near 0 and 1, where
scores are dense. So a tally does not depend on a reference, any two can be added, and the bins of a
reference, whose edges are cell bounds, are sums of cells. Scores are rounded to float32, as an
output stores them, so that a worker and a report count alike.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from schemas.manifest import DriftReference, HeadReference
from schemas.records import Annotation
from schemas.tasks import Task
from worker.system.batching import in_groups

Counts = npt.NDArray[np.int64]
"""Mentions by score cell, shape (CELLS,); or by bin, shape (bins,)."""

_REACH: Final = 14.0
"""The log-odds at which cells end: float32 cannot distinguish scores closer to 1 than 1e-6."""
_CELLS_A_UNIT: Final = 25
CELLS: Final = int(2 * _REACH) * _CELLS_A_UNIT
BINS: Final = 10
"""Score bins of a reference: deciles are the index's usual bins."""
LEAST_IN_BIN: Final = 20
"""Mentions that a reference has in each bin. With fewer, the fraction in a bin is too uncertain."""
_TEXTS_AT_ONCE: Final = 64


class Annotator(Protocol):
    """Protocol of a tagger, such as `worker.tagger.Tagger`."""

    @property
    def tasks(self) -> tuple[Task, ...]:
        """The heads."""

    def annotate(self, texts: Sequence[str]) -> list[Annotation]:
        """Find the mentions of every head in each text."""


def score_cells(scores: npt.ArrayLike) -> Counts:
    """Count scores, 0 to 1, by cell; shape (CELLS,)."""
    values = np.asarray(scores, dtype=np.float32).astype(np.float64)
    with np.errstate(divide="ignore"):
        odds = np.log(values) - np.log1p(-values)
    positions = np.floor((np.clip(odds, -_REACH, _REACH) + _REACH) * _CELLS_A_UNIT)
    cells = np.minimum(positions.astype(np.int64), CELLS - 1)
    return np.bincount(cells, minlength=CELLS).astype(np.int64)


def in_bins(cells: Counts, edges: Sequence[float]) -> Counts:
    """Return the mentions of each of the bins between `edges`; shape (edges + 1,)."""
    bins = np.searchsorted(np.asarray(edges), _CELL_MIDDLES, side="right")
    found = np.zeros(len(edges) + 1, dtype=np.int64)
    np.add.at(found, bins, cells)
    return found


def _scores_at(odds: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return 1.0 / (1.0 + np.exp(-odds))


_CELL_MIDDLES: Final = _scores_at((np.arange(CELLS) + 0.5) / _CELLS_A_UNIT - _REACH)


@dataclass(frozen=True, slots=True, eq=False)
class DayTally:
    """Counts over some citations; those without text are not counted.

    `cells` has each head's mentions by score cell. `texts` is the number of citations that were
    counted in `word_pieces` and `unknown_pieces`: all of them, or a sample.
    """

    citations: int = 0
    texts: int = 0
    word_pieces: int = 0
    unknown_pieces: int = 0
    cells: Mapping[str, Counts] = field(default_factory=dict)

    def mentions(self, head: str) -> int:
        """Return how many mentions a head found."""
        return int(self.cells[head].sum()) if head in self.cells else 0

    def mentions_per_citation(self, head: str) -> float:
        """Return a head's mentions per citation; 0 if there are no citations."""
        return self.mentions(head) / self.citations if self.citations else 0.0

    @property
    def unknown_share(self) -> float | None:
        """The fraction of the word pieces that is unknown; None if none were counted."""
        return self.unknown_pieces / self.word_pieces if self.word_pieces else None

    def __add__(self, other: "DayTally") -> "DayTally":
        """Return the tally of both sets of citations."""
        cells = dict(self.cells)
        for head, counts in other.cells.items():
            cells[head] = cells[head] + counts if head in cells else counts
        return DayTally(
            self.citations + other.citations,
            self.texts + other.texts,
            self.word_pieces + other.word_pieces,
            self.unknown_pieces + other.unknown_pieces,
            cells,
        )


def tally_of(annotations: Iterable[Annotation]) -> DayTally:
    """Return the tally of the annotations of some citations."""
    texts, pieces, unknown = 0, 0, 0
    scores: dict[str, list[float]] = {}
    for annotation in annotations:
        texts += 1
        pieces += annotation.word_pieces
        unknown += annotation.unknown_pieces
        for mention in annotation.mentions:
            scores.setdefault(mention.task, []).append(mention.score)
    cells = {head: score_cells(found) for head, found in scores.items()}
    return DayTally(texts, texts, pieces, unknown, cells)


class DriftTally:
    """Tallies by checkpoint id and UTC day; any two can be merged, in any order."""

    def __init__(self) -> None:
        self._days: dict[tuple[str, date], DayTally] = {}

    @property
    def days(self) -> Mapping[tuple[str, date], DayTally]:
        """The tallies by checkpoint id and day, in the order of both."""
        return dict(sorted(self._days.items()))

    def add(self, checkpoint_id: str, day: date, found: DayTally) -> DayTally:
        """Add what a checkpoint found; return the tally of its day so far."""
        key = checkpoint_id, day
        self._days[key] = self._days.get(key, DayTally()) + found
        return self._days[key]

    def merge(self, other: "DriftTally") -> None:
        """Add all that another has."""
        for (checkpoint_id, day), found in other.days.items():
            self.add(checkpoint_id, day, found)

    def forget(self, checkpoint_id: str, day: date) -> None:
        """Drop a day."""
        self._days.pop((checkpoint_id, day), None)


def utc_day(moment: datetime) -> date:
    """Return the UTC day of a timezone-aware time."""
    return moment.astimezone(UTC).date()


def head_reference(cells: Counts, citations: int) -> HeadReference:
    """Return a head's part of a reference from its mentions by score cell.

    Edges are the bounds of cells nearest to the deciles. Tied scores share a cell and so a bin, and
    each bin has at least `LEAST_IN_BIN` mentions, so a head that found few has fewer bins.
    """
    mentions = int(cells.sum())
    below = np.cumsum(cells)[:-1]  # mentions below each inner bound of a cell
    chosen: list[int] = []
    for number in range(1, BINS):
        away = np.abs(below - mentions * number / BINS)
        nearest = np.flatnonzero(away == away.min())
        bound = int(nearest[len(nearest) // 2])  # the middle of a gap, far from either score
        start = int(below[chosen[-1]]) if chosen else 0
        inside, above = int(below[bound]) - start, mentions - int(below[bound])
        if min(inside, above) >= LEAST_IN_BIN:
            chosen.append(bound)
    bounds = _scores_at((np.array(chosen, dtype=np.float64) + 1) / _CELLS_A_UNIT - _REACH)
    edges = tuple(round(float(edge), 9) for edge in bounds)
    parts = in_bins(cells, edges) / mentions if mentions else np.ones(1)
    return HeadReference(
        mentions=mentions,
        mentions_per_citation=round(mentions / max(1, citations), 6),
        edges=edges,
        shares=tuple(round(float(part), 6) for part in parts),
    )


def reference_from(
    tally: DayTally, heads: Iterable[str], *, name: str, sha256: str
) -> DriftReference:
    """Convert a tally to a reference, which includes those of `heads` that found nothing."""
    nothing = np.zeros(CELLS, dtype=np.int64)
    share = tally.unknown_share
    return DriftReference(
        name=name,
        sha256=sha256,
        citations=tally.citations,
        word_pieces=tally.word_pieces,
        unknown_share=None if share is None else round(share, 9),
        heads={
            head: head_reference(tally.cells.get(head, nothing), tally.citations) for head in heads
        },
    )


def reference_of(tagger: Annotator, texts: Iterable[str], *, name: str) -> DriftReference:
    """Annotate texts, and return the result as a drift reference.

    Its `sha256` is over the concatenated digests of the texts, in order.

    :param name: the origin of the texts
    :raises RecordError: if a text holds a lone surrogate.
    :raises ValueError: if there is no text.
    """
    total, digest = DayTally(), hashlib.sha256()
    for group in in_groups(texts, _TEXTS_AT_ONCE):
        for text in group:
            digest.update(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest())
        total += tally_of(tagger.annotate(group))
    if not total.citations:
        raise ValueError("a reference needs at least one text")
    heads = [task.name for task in tagger.tasks]
    return reference_from(total, heads, name=name, sha256=digest.hexdigest())


def joined_reference(references: Sequence[DriftReference | None]) -> DriftReference | None:
    """Merge the references of a set's checkpoints; None if none has one.

    Heads without a reference are not in it. The fraction of unknown word pieces is known only if
    every checkpoint has a reference, because word pieces of a set are counted together.
    """
    known = [reference for reference in references if reference is not None]
    if len(known) <= 1:
        one = known[0] if known else None
        whole = len(known) == len(references)
        return one if whole or one is None else one.model_copy(update={"unknown_share": None})
    pieces = sum(one.word_pieces for one in known)
    shares = [one.unknown_share for one in known]
    whole = len(known) == len(references) and None not in shares and pieces > 0
    unknown = sum(one.word_pieces * (one.unknown_share or 0.0) for one in known)
    return DriftReference(
        name=", ".join(dict.fromkeys(one.name for one in known)),
        sha256=hashlib.sha256("\n".join(one.sha256 for one in known).encode()).hexdigest(),
        citations=min(one.citations for one in known),
        word_pieces=pieces,
        unknown_share=unknown / pieces if whole else None,
        heads={head: found for one in known for head, found in one.heads.items()},
    )
