"""The paired bootstrap test over sentences: a significance test for differences of scores.

Sentences are resampled with replacement, and both systems are scored on each resample (Koehn 2004,
"Statistical significance tests for machine translation evaluation"; Berg-Kirkpatrick, Burkett and
Klein 2012, "An empirical investigation of statistical significance in NLP"). The score is strict
micro F1, computed from the counts of each sentence.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from schemas.records import Span

RESAMPLES = 10_000
_CHUNK_CELLS = 4_000_000  # weights in memory at once: resamples of a chunk times distinct rows

Counts = npt.NDArray[np.int64]
"""True positives, predicted and gold mentions of each sentence, shape (sentences, 3)."""


@dataclass(frozen=True, slots=True)
class PairedBootstrap:
    """The result of the bootstrap for system A against system B on the same sentences.

    `difference` is A's F1 minus B's, from `low` to `high` in 95 % of the resamples (percentiles).
    `p_value` is one-sided: the probability of a difference at least as large in the observed
    direction under the null hypothesis. Double it for a two-sided test. It is 1 if the scores are
    equal.
    """

    first: float
    second: float
    difference: float
    low: float
    high: float
    p_value: float
    resamples: int


def sentence_counts(gold: Sequence[Collection[Span]], found: Sequence[Collection[Span]]) -> Counts:
    """Count the true positives, predicted and gold mentions of each sentence (strict matching).

    Duplicate spans count once.

    :raises ValueError: if the numbers of sentences differ.
    """
    rows = [
        (len(true & made), len(made), len(true))
        for true, made in (
            (set(gold_spans), set(found_spans))
            for gold_spans, found_spans in zip(gold, found, strict=True)
        )
    ]
    return np.array(rows, dtype=np.int64).reshape(-1, 3)


def paired_bootstrap(
    first: npt.ArrayLike,
    second: npt.ArrayLike,
    rng: np.random.Generator,
    *,
    resamples: int = RESAMPLES,
) -> PairedBootstrap:
    """Compare the strict micro F1 of two systems by the counts of the same sentences.

    The p-value is the fraction of resamples in which the difference exceeds twice the observed one
    (Berg-Kirkpatrick et al. 2012: resamples are centred on the observed difference, not on 0), with
    the observed one counted as a resample, so that it is never 0.

    :param first: counts of system A, as `Counts`
    :param second: counts of system B; its gold must be that of A
    :raises ValueError: if the shapes or the gold differ, a count is impossible, or there is no
        sentence or no resample.
    """
    ours, theirs = _checked(first), _checked(second)
    if len(ours) != len(theirs) or (ours[:, 2] != theirs[:, 2]).any():
        raise ValueError("both systems need counts of the same sentences, with the same gold")
    if not len(ours) or resamples < 1:
        raise ValueError(f"nothing to draw: {len(ours)} sentences, {resamples} resamples")
    counts = np.concatenate([ours, theirs[:, :2]], axis=1)
    found = _f1_pair(counts.sum(axis=0, keepdims=True))[0]
    drawn = _f1_pair(_resampled(counts, resamples, rng))
    differences = drawn[:, 0] - drawn[:, 1]
    difference = float(found[0] - found[1])
    low, high = np.percentile(differences, (2.5, 97.5)).tolist()
    beyond = int((differences * np.sign(difference) >= 2 * abs(difference)).sum())
    return PairedBootstrap(
        first=float(found[0]),
        second=float(found[1]),
        difference=difference,
        low=low,
        high=high,
        p_value=(beyond + 1) / (resamples + 1) if difference else 1.0,
        resamples=resamples,
    )


def _checked(counts: npt.ArrayLike) -> Counts:
    array = np.asarray(counts)
    if array.ndim != 2 or array.shape[1] != 3 or array.dtype.kind not in "iu":
        raise ValueError(
            f"expected whole numbers of shape (sentences, 3), got {array.dtype} of {array.shape}"
        )
    if (array < 0).any() or (array[:, :1] > array[:, 1:]).any():
        raise ValueError("a count is negative, or a sentence has more true positives than mentions")
    return array.astype(np.int64)


def _resampled(counts: Counts, resamples: int, rng: np.random.Generator) -> Counts:
    """Return the sums of `counts` over each resample, shape (resamples, 5).

    Sentences with equal counts are interchangeable, so it suffices to draw how often each of the
    few distinct rows occurs.
    """
    rows, occur = np.unique(counts, axis=0, return_counts=True)
    fractions = occur / len(counts)
    chunk = max(1, _CHUNK_CELLS // len(rows))
    sizes = [min(chunk, resamples - begin) for begin in range(0, resamples, chunk)]
    sums = [rng.multinomial(len(counts), fractions, size=size) @ rows for size in sizes]
    return np.concatenate(sums)


def _f1_pair(sums: Counts) -> npt.NDArray[np.float64]:
    """Return both systems' F1, shape (rows, 2).

    The columns of `sums` are A's true positives and found, the gold, B's true positives and found.
    """
    true, whole = sums[:, [0, 3]], sums[:, [1, 4]] + sums[:, [2]]
    out = np.zeros(true.shape)
    np.divide(2 * true, whole, out=out, where=whole > 0)
    return out
