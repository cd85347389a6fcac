"""The stability index, and what is worth a warning."""

import math
from dataclasses import replace
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.manifest import HeadReference
from tests.support.drift import annotations, reference
from worker.drift.index import (
    DriftKind,
    DriftLimits,
    chance_index,
    head_drift,
    judge,
    population_stability_index,
)
from worker.drift.tally import DayTally, tally_of

REFERENCE = reference(annotations(1000, seed=7))
COUNTS = st.lists(st.integers(0, 5000), min_size=1, max_size=12)


@st.composite
def two_samples(draw: st.DrawFn) -> tuple[list[int], list[int]]:
    first = draw(COUNTS)
    size = len(first)
    return first, draw(st.lists(st.integers(0, 5000), min_size=size, max_size=size))


@given(two_samples())
def test_the_index_is_finite_symmetric_and_not_below_zero(
    samples: tuple[list[int], list[int]],
) -> None:
    first, second = samples
    found = population_stability_index(first, second)
    assert math.isfinite(found)
    assert found >= -1e-12
    assert found == pytest.approx(population_stability_index(second, first))


@given(COUNTS, st.randoms(use_true_random=False))
def test_the_index_of_equals_is_zero_and_bins_have_no_order(
    counts: list[int], random: Random
) -> None:
    assert population_stability_index(counts, counts) == 0
    other = [3 * count + 1 for count in counts]
    order = list(range(len(counts)))
    random.shuffle(order)
    assert population_stability_index(
        [counts[i] for i in order], [other[i] for i in order]
    ) == pytest.approx(population_stability_index(counts, other))


def test_the_index_is_that_of_the_books() -> None:
    # Shares 50/50 and 60/40: 0.1 ln 1.2 - 0.1 ln 0.8.
    expected = 0.1 * math.log(1.2) - 0.1 * math.log(0.8)
    found = population_stability_index([500_000, 500_000], [600_000, 400_000])
    assert found == pytest.approx(expected, rel=1e-4)


def test_bins_must_agree() -> None:
    with pytest.raises(ValueError, match="bins"):
        population_stability_index([1, 2], [1, 2, 3])
    with pytest.raises(ValueError, match="below 0"):
        population_stability_index([1, 2], [-1, 2])


def test_chance_gives_what_is_said() -> None:
    generator = np.random.default_rng(0)
    found = [
        population_stability_index(*generator.multinomial([400, 900], np.full(10, 0.1)))
        for _ in range(400)
    ]
    assert np.mean(found) == pytest.approx(chance_index(10, 400, 900), rel=0.1)


def kinds(tally: DayTally, limits: DriftLimits | None = None) -> list[DriftKind]:
    return [warning.kind for warning in judge(tally, REFERENCE, limits)]


@pytest.mark.parametrize("seed", range(10))
def test_the_same_population_raises_nothing(seed: int) -> None:
    assert kinds(tally_of(annotations(500, seed=seed))) == []


def test_other_scores_are_told() -> None:
    [warning] = judge(tally_of(annotations(500, shape=(3.0, 2.0), seed=1)), REFERENCE)
    assert (warning.kind, warning.head) == (DriftKind.SCORES, "bc2gm")
    assert warning.value > warning.limit == 0.25
    assert "bc2gm" in warning.message


@pytest.mark.parametrize("rate", [0.6, 3.6])
def test_more_or_fewer_mentions_are_told(rate: float) -> None:
    [warning] = judge(tally_of(annotations(500, rate=rate, seed=1)), REFERENCE)
    assert warning.kind is DriftKind.MENTIONS
    assert f"{warning.value:.3f} mentions per citation" in warning.message


def test_a_head_that_finds_nothing_any_more_is_told() -> None:
    assert kinds(tally_of(annotations(500, rate=0.0))) == [DriftKind.MENTIONS]


def test_a_head_that_found_nothing_in_the_reference_is_told_once_it_finds_much() -> None:
    nothing = reference(annotations(1000, rate=0.0))
    assert nothing.heads["bc2gm"] == HeadReference(mentions=0, mentions_per_citation=0.0)
    assert judge(tally_of(annotations(500, rate=0.1)), nothing) == []
    [warning] = judge(tally_of(annotations(500)), nothing)
    assert warning.kind is DriftKind.MENTIONS


def test_unknown_word_pieces_are_told_and_a_few_are_not() -> None:
    assert kinds(tally_of(annotations(500, unknown=2))) == [DriftKind.UNKNOWN]
    assert kinds(tally_of(annotations(500)) + DayTally(0, 0, 0, 100, {})) == []  # 0.2 %
    usual = REFERENCE.model_copy(update={"unknown_share": 0.01})
    assert judge(tally_of(annotations(500, unknown=2)), usual) == []
    [warning] = judge(tally_of(annotations(500, unknown=3)), usual)
    assert "3.00% of the word pieces" in warning.message
    unknown = REFERENCE.model_copy(update={"unknown_share": None})
    assert judge(tally_of(annotations(500, unknown=50)), unknown) == []


def test_a_small_day_or_reference_is_not_judged() -> None:
    drifted = annotations(500, rate=8.0, shape=(2.0, 5.0), unknown=50)
    assert kinds(tally_of(drifted)) == [DriftKind.MENTIONS, DriftKind.SCORES, DriftKind.UNKNOWN]
    assert kinds(tally_of(drifted[:499])) == []
    assert judge(tally_of(drifted), REFERENCE.model_copy(update={"citations": 499})) == []
    assert kinds(tally_of(drifted[:20]), replace(DriftLimits(), citations=10, mentions=1)) != []


def test_unknown_pieces_of_a_sample_are_judged_by_its_size() -> None:
    few = DayTally(citations=5000, texts=100, word_pieces=10_000, unknown_pieces=9000)
    enough = replace(few, texts=500)
    mentions = tally_of(annotations(5000)).cells
    assert kinds(replace(few, cells=mentions)) == []
    assert kinds(replace(enough, cells=mentions)) == [DriftKind.UNKNOWN]


def test_a_head_beside_no_reference_is_shown_without_comparison() -> None:
    drift = head_drift(tally_of(annotations(10)), "bc2gm", None)
    assert drift.mentions > 0
    assert (drift.expected, drift.change, drift.psi, drift.psi_excess) == (None, None, None, None)
