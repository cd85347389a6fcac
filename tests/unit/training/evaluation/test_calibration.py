"""Expected calibration error: by hand, by brute force, and on samples of known calibration."""

from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.records import Span
from training.evaluation.calibration import (
    Bin,
    Outcomes,
    calibration_bins,
    calibration_error,
    outcomes_of,
)
from training.evaluation.predict import ScoredSpan


def outcomes(scores: list[float], right: list[bool]) -> Outcomes:
    return Outcomes(np.array(scores, dtype=np.float64), np.array(right, dtype=np.bool_))


def test_by_hand() -> None:
    given_ = outcomes([0.9, 0.2, 0.6, 0.8], [True, False, True, False])
    low, high = calibration_bins(given_, 2)
    assert (low.count, high.count) == (2, 2)
    assert (low.confidence, low.precision) == pytest.approx((0.4, 0.5))
    assert (high.confidence, high.precision) == pytest.approx((0.85, 0.5))
    assert calibration_error(given_, 2) == pytest.approx((0.1 + 0.35) / 2)
    # Five spans in two bins: the first has one more.
    five = outcomes([0.1, 0.2, 0.3, 0.8, 0.9], [False, False, True, True, True])
    assert [one.count for one in calibration_bins(five, 2)] == [3, 2]
    assert calibration_error(five, 2) == pytest.approx((3 * abs(0.2 - 1 / 3) + 2 * 0.15) / 5)


def test_nothing_found_has_no_error_and_few_spans_have_few_bins() -> None:
    assert calibration_bins(outcomes([], [])) == ()
    assert calibration_error(outcomes([], [])) == 0.0
    assert calibration_bins(outcomes([0.7], [True])) == (Bin(1, 0.7, 1.0),)


SPANS = st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=60)


@given(SPANS, st.integers(1, 20), st.randoms(use_true_random=False))
def test_the_order_of_spans_does_not_matter_and_brute_force_agrees(
    spans: list[tuple[float, bool]], bins: int, random: Random
) -> None:
    found = calibration_error(outcomes(*map(list, zip(*spans, strict=True))), bins)
    mixed = list(spans)
    random.shuffle(mixed)
    again = calibration_error(outcomes(*map(list, zip(*mixed, strict=True))), bins)
    assert found == pytest.approx(again, abs=1e-12)
    if len({score for score, _ in spans}) == len(spans):
        ordered = sorted(spans)
        rest, error = len(ordered), 0.0
        for left in range(bins, 0, -1):  # each bin takes its share of what is left, rounded up
            size = -(-rest // left)
            part, ordered = ordered[:size], ordered[size:]
            rest -= size
            error += abs(sum(score - right for score, right in part))
        assert found == pytest.approx(error / len(spans), abs=1e-12)


def test_a_calibrated_sample_is_near_its_noise_and_an_overconfident_one_is_not() -> None:
    random = np.random.default_rng(7)
    scores = random.beta(4, 1, 60_000)
    calibrated = Outcomes(scores, random.random(len(scores)) < scores)
    assert calibration_error(calibrated) < 0.006
    assert calibration_error(Outcomes(scores**0.5, calibrated.right)) > 0.05


def test_a_span_is_right_where_start_end_and_label_are_those_of_gold() -> None:
    gold = [[Span(0, 4, "GENE"), Span(6, 9, "GENE")], []]
    found = [
        [
            ScoredSpan(Span(0, 4, "GENE"), 0.9),
            ScoredSpan(Span(6, 8, "GENE"), 0.8),
            ScoredSpan(Span(6, 9, "DNA"), 0.7),
        ],
        [ScoredSpan(Span(0, 4, "GENE"), 0.6)],
    ]
    compared = outcomes_of(gold, found)
    assert compared.scores.tolist() == [0.9, 0.8, 0.7, 0.6]
    assert compared.right.tolist() == [True, False, False, False]
