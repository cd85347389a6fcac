"""Calibration metrics: the expected calibration error (ECE) and its bins.

A head is calibrated if, of the spans that it predicts with a score of about p, a fraction p is
correct. Only predicted spans count, since missed ones have no score. Bins have equal mass
("Posterior calibration and exploratory analysis for natural language processing models", Nguyen &
O'Connor 2015), and the error is the mean difference of confidence and precision over the bins,
weighted by their spans (Naeini et al. 2015).
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from schemas.records import Span
from training.evaluation.predict import ScoredSpan

BINS = 15


@dataclass(frozen=True, slots=True, eq=False)
class Outcomes:
    """The predicted spans of a head: `scores`, and whether each is `right`; shape (spans,)."""

    scores: npt.NDArray[np.float64]
    right: npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Bin:
    """A bin of spans: their number, mean score (`confidence`) and `precision`."""

    count: int
    confidence: float
    precision: float


def outcomes_of(
    gold: Sequence[Collection[Span]], found: Sequence[Sequence[ScoredSpan]]
) -> Outcomes:
    """Compare the predicted spans of each text with its gold spans, with strict matching."""
    scores: list[float] = []
    right: list[bool] = []
    for true, spans in zip(gold, found, strict=True):
        expected = set(true)
        scores += [one.score for one in spans]
        right += [one.span in expected for one in spans]
    return Outcomes(np.array(scores, dtype=np.float64), np.array(right, dtype=np.bool_))


def calibration_bins(outcomes: Outcomes, bins: int = BINS) -> tuple[Bin, ...]:
    """Divide the spans, ordered by score, into `bins` equal-mass bins; empty ones are omitted.

    Sizes differ by at most one. Spans of equal score may fall into two bins; each then counts with
    their mean correctness, so that their order does not matter.
    """
    order = np.argsort(outcomes.scores, kind="stable")
    scores = outcomes.scores[order]
    right = _shared(scores, outcomes.right[order].astype(np.float64))
    return tuple(
        Bin(len(part), float(scores[part].mean()), float(right[part].mean()))
        for part in np.array_split(np.arange(len(scores)), bins)
        if len(part)
    )


def _shared(
    scores: npt.NDArray[np.float64], right: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Return `right` averaged over each run of equal `scores`."""
    _, run, counts = np.unique(scores, return_inverse=True, return_counts=True)
    means: npt.NDArray[np.float64] = np.bincount(run, right, len(counts)) / counts
    return means[run]


def bins_error(bins: Sequence[Bin]) -> float:
    """Return the expected calibration error of `bins`; 0 if there is no span."""
    spans = sum(part.count for part in bins)
    if not spans:
        return 0.0
    return sum(part.count * abs(part.confidence - part.precision) for part in bins) / spans


def calibration_error(outcomes: Outcomes, bins: int = BINS) -> float:
    """Return the expected calibration error over equal-mass bins; 0 if there is no span."""
    return bins_error(calibration_bins(outcomes, bins))
