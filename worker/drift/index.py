"""Drift of a checkpoint's output from its reference, and the limits beyond which it warns.

The *population stability index* of two samples in the same bins is the sum, over the bins, of the
difference of the two fractions times the logarithm of their ratio: Kullback & Leibler's (1951)
divergence in both directions. Siddiqi (*Credit Risk Scorecards*, 2006) uses it to compare the
scores of new cases with those that a model was built on, and interprets it so: below 0.1 nothing
has changed, from 0.1 to 0.25 something may have, above 0.25 the population is a different one.

Two samples of n and m from one population have an index of about (bins - 1) (1/n + 1/m), since it
is close to a chi-squared over their sizes (Yurdakul & Naranjo 2020). Only the *excess* over that is
judged, and only in samples of sufficient size: a small sample's index is noise.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np
import numpy.typing as npt

from schemas.manifest import DriftReference, HeadReference
from worker.drift.tally import DayTally, in_bins

SMOOTHING: Final = 0.5
"""Added to each bin's count: an empty bin would give an infinite logarithm. Half a mention is what
Jeffreys's prior adds; at a thousand mentions it changes the index by less than 0.001."""


@dataclass(frozen=True, slots=True)
class DriftLimits:
    """The limits beyond which drift is reported, and the sample sizes required to judge it.

    `psi`: the index's excess; 0.25 is Siddiqi's bound for a different population. 0.1 would warn
    of each day whose journals differ a little.
    `mentions_change`: the relative change of a head's mentions per citation, either way. It is half
    since subjects differ from day to day (a batch of one journal's abstracts has twice the genes
    of another's), while a fault, such as a changed input format, removes or adds nearly all.
    `unknown_factor`, `unknown_points`: the fraction of unknown word pieces must be more than so
    many times the reference's, and by so many points (0.005 is half a per cent) more. A biomedical
    vocabulary knows nearly all pieces, so that a factor alone would warn of one Greek letter.
    `citations`: the number that a day, and the reference, must have. Mentions come in clusters: of
    300 draws of 500 abstracts out of 1,161, none moved a head's mentions per citation by more than
    34 %, nor its index by more than 0.05 beyond chance; draws of 175 did by up to 92 % and 0.19.
    `mentions`: the number that a head must have, or be expected to have. At 200 the index of one
    population is about 0.05 for ten bins, and two or three times that where they are clustered.
    """

    psi: float = 0.25
    mentions_change: float = 0.5
    unknown_factor: float = 2.0
    unknown_points: float = 0.005
    citations: int = 500
    mentions: int = 200

    def unknown_limit(self, usual: float) -> float:
        """Return the fraction of unknown word pieces above which there is a warning."""
        return max(self.unknown_factor * usual, usual + self.unknown_points)


class DriftKind(StrEnum):
    """The quantity that has drifted."""

    MENTIONS = "mentions_per_citation"
    SCORES = "score_psi"
    UNKNOWN = "unknown_pieces"


@dataclass(frozen=True, slots=True)
class DriftWarning:
    """One quantity that has drifted: its value, the reference's value, and the exceeded limit.

    For `SCORES` the value is the index's excess and the reference's is 0. `head` is empty if the
    warning is about the texts.
    """

    kind: DriftKind
    head: str
    value: float
    reference: float
    limit: float

    @property
    def message(self) -> str:
        """The warning as text."""
        if self.kind is DriftKind.MENTIONS:
            return (
                f"{self.head}: {self.value:.3f} mentions per citation, the reference has "
                f"{self.reference:.3f} (limit: {self.limit:.0%} change)"
            )
        if self.kind is DriftKind.SCORES:
            return (
                f"{self.head}: the distribution of scores has changed, population stability index "
                f"{self.value:.3f} beyond chance (limit {self.limit:g})"
            )
        return (
            f"{self.value:.2%} of the word pieces are unknown, the reference has "
            f"{self.reference:.2%} (limit {self.limit:.2%})"
        )


@dataclass(frozen=True, slots=True)
class HeadDrift:
    """A head's output compared with its reference.

    `expected` is the reference's number of mentions per citation, None if the head is not in it.
    `change` is the relative change from it, None if nothing was expected. `psi` is the index of the
    scores and `psi_noise` its value by chance alone; None if there are no mentions, or the
    reference has a single bin.
    """

    mentions: int
    mentions_per_citation: float
    expected: float | None
    change: float | None
    psi: float | None
    psi_noise: float | None

    @property
    def psi_excess(self) -> float | None:
        """The index minus its value by chance alone, at least 0."""
        if self.psi is None or self.psi_noise is None:
            return None
        return max(0.0, self.psi - self.psi_noise)


def population_stability_index(
    expected: Sequence[float] | npt.NDArray[np.int64],
    observed: Sequence[float] | npt.NDArray[np.int64],
) -> float:
    """Return the index of two samples from their counts by bin; at least 0, and symmetric.

    Empty bins are smoothed, see `SMOOTHING`.

    :raises ValueError: if they have different numbers of bins, or a count is below 0.
    """
    first, second = np.asarray(expected, np.float64), np.asarray(observed, np.float64)
    if first.shape != second.shape or first.ndim != 1 or not len(first):
        raise ValueError(f"the samples have {first.shape} and {second.shape} bins; expected equal")
    if min(first.min(), second.min()) < 0:
        raise ValueError("a count is below 0")
    first, second = first + SMOOTHING, second + SMOOTHING
    first, second = first / first.sum(), second / second.sum()
    return float(((second - first) * np.log(second / first)).sum())


def chance_index(bins: int, expected: int, observed: int) -> float:
    """Return the approximate index of two samples of these sizes from one population."""
    return (bins - 1) * (1 / expected + 1 / observed)


def head_drift(tally: DayTally, head: str, reference: HeadReference | None) -> HeadDrift:
    """Compare a head's output with its reference."""
    mentions, rate = tally.mentions(head), tally.mentions_per_citation(head)
    if reference is None:
        return HeadDrift(mentions, rate, None, None, None, None)
    expected = reference.mentions_per_citation
    psi = noise = None
    if mentions and reference.mentions and reference.edges:
        known = [share * reference.mentions for share in reference.shares]
        psi = population_stability_index(known, in_bins(tally.cells[head], reference.edges))
        noise = chance_index(len(known), reference.mentions, mentions)
    change = rate / expected - 1 if expected else None
    return HeadDrift(mentions, rate, expected, change, psi, noise)


def judge(
    tally: DayTally, reference: DriftReference, limits: DriftLimits | None = None
) -> list[DriftWarning]:
    """Return the warnings for drift beyond the limits: those of heads, then those of the texts.

    A head that is not in the reference is not judged.
    """
    limits = limits or DriftLimits()
    found: list[DriftWarning] = []
    if min(tally.citations, reference.citations) >= limits.citations:
        for head, expected in reference.heads.items():
            found += _judge_head(tally, head, expected, limits)
    share, usual = tally.unknown_share, reference.unknown_share
    if (
        min(tally.texts, reference.citations) >= limits.citations
        and share is not None
        and usual is not None
    ):
        limit = limits.unknown_limit(usual)
        if share > limit:
            found.append(DriftWarning(DriftKind.UNKNOWN, "", share, usual, limit))
    return found


def _judge_head(
    tally: DayTally, head: str, reference: HeadReference, limits: DriftLimits
) -> list[DriftWarning]:
    drift = head_drift(tally, head, reference)
    expected = reference.mentions_per_citation
    found = []
    # A head that no longer finds anything has no mentions to judge, but should have had some.
    should_have = expected * tally.citations
    changed = drift.change is None or abs(drift.change) > limits.mentions_change
    if max(drift.mentions, should_have) >= limits.mentions and changed:
        found.append(
            DriftWarning(
                DriftKind.MENTIONS,
                head,
                drift.mentions_per_citation,
                expected,
                limits.mentions_change,
            )
        )
    excess = drift.psi_excess
    enough = min(drift.mentions, reference.mentions) >= limits.mentions
    if enough and excess is not None and excess > limits.psi:
        found.append(DriftWarning(DriftKind.SCORES, head, excess, 0.0, limits.psi))
    return found
