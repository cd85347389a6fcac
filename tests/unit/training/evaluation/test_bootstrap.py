"""The paired bootstrap: sound on luck and on skill, and the same as a plain loop."""

import random

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.records import Span
from training.evaluation.bootstrap import paired_bootstrap, sentence_counts
from training.evaluation.strict import strict_score

Counts = npt.NDArray[np.int64]


def system(gold: Counts, recall: float, rng: np.random.Generator, spurious: float = 0.1) -> Counts:
    """Return counts of a system that finds each mention with probability `recall`."""
    true = rng.binomial(gold, recall)
    return np.stack([true, true + rng.poisson(spurious, len(gold)), gold], axis=1)


def gold_counts(sentences: int, seed: int = 0) -> Counts:
    return np.random.default_rng(seed).poisson(1.2, sentences).astype(np.int64)


def micro_f1(rows: Counts) -> float:
    true, found, gold = rows.sum(axis=0).tolist()
    return 2 * true / (found + gold) if found + gold else 0.0


def test_identical_systems_do_not_differ() -> None:
    counts = system(gold_counts(300), 0.8, np.random.default_rng(1))
    result = paired_bootstrap(counts, counts, np.random.default_rng(2))
    assert result.p_value == 1.0
    assert (result.difference, result.low, result.high) == (0.0, 0.0, 0.0)
    assert result.first == result.second == pytest.approx(micro_f1(counts))


def test_a_clearly_better_system_is_significant_in_either_order() -> None:
    gold = gold_counts(900)
    rng = np.random.default_rng(3)
    good, bad = system(gold, 0.9, rng), system(gold, 0.8, rng)
    forward = paired_bootstrap(good, bad, np.random.default_rng(4))
    assert forward.difference == pytest.approx(micro_f1(good) - micro_f1(bad))
    assert 0 < forward.low < forward.difference < forward.high
    assert forward.p_value < 0.001
    backward = paired_bootstrap(bad, good, np.random.default_rng(4))
    assert backward.low < backward.difference < backward.high < 0
    assert backward.difference == -forward.difference
    assert backward.p_value < 0.001


def test_a_pvalue_is_never_zero() -> None:
    gold = np.ones(200, dtype=np.int64)
    perfect, nothing = np.stack([gold] * 3, axis=1), np.stack([gold * 0, gold * 0, gold], axis=1)
    result = paired_bootstrap(perfect, nothing, np.random.default_rng(0), resamples=99)
    assert (result.first, result.second, result.p_value) == (1.0, 0.0, 0.01)


def test_equally_good_systems_are_rarely_called_different() -> None:
    small = 0
    covered = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        gold = gold_counts(150, seed)
        result = paired_bootstrap(
            system(gold, 0.8, rng), system(gold, 0.8, rng), rng, resamples=400
        )
        small += result.p_value <= 0.05
        covered += result.low <= 0 <= result.high
    # one-sided in the direction found: 10 % of the tests of two equal systems come out at 0.05
    assert 8 <= small <= 36
    assert 180 <= covered <= 199


def test_it_agrees_with_a_plain_loop() -> None:
    gold = gold_counts(80, 5)
    rng = np.random.default_rng(6)
    ours, theirs = system(gold, 0.9, rng), system(gold, 0.8, rng)
    result = paired_bootstrap(ours, theirs, np.random.default_rng(7), resamples=20_000)
    plain = random.Random(8)
    found = micro_f1(ours) - micro_f1(theirs)
    differences = []
    for _ in range(4_000):
        drawn = [plain.randrange(len(gold)) for _ in gold]
        differences.append(micro_f1(ours[drawn]) - micro_f1(theirs[drawn]))
    beyond = sum(difference >= 2 * found for difference in differences) / len(differences)
    assert found > 0
    assert 0.01 < beyond < 0.3, "a case in between"
    assert result.p_value == pytest.approx(beyond, abs=0.02)
    low, high = np.percentile(differences, (2.5, 97.5))
    assert (result.low, result.high) == pytest.approx((low, high), abs=0.004)


def test_sentences_without_mentions_are_drawn_too() -> None:
    gold = np.concatenate([gold_counts(40, 9), np.zeros(400, dtype=np.int64)])
    rng = np.random.default_rng(10)
    ours, theirs = system(gold, 0.9, rng, 0.0), system(gold, 0.7, rng, 0.0)
    sparse = paired_bootstrap(ours, theirs, np.random.default_rng(11))
    dense = paired_bootstrap(ours[:40], theirs[:40], np.random.default_rng(11))
    assert sparse.difference == pytest.approx(dense.difference)
    empty = np.zeros((5, 3), dtype=np.int64)
    nothing = paired_bootstrap(empty, empty, np.random.default_rng(0), resamples=10)
    assert (nothing.first, nothing.difference, nothing.p_value) == (0.0, 0.0, 1.0)


def test_the_same_generator_gives_the_same_and_chunks_do_not_matter_to_the_law(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gold = gold_counts(60, 12)
    rng = np.random.default_rng(13)
    ours, theirs = system(gold, 0.85, rng), system(gold, 0.8, rng)
    whole = paired_bootstrap(ours, theirs, np.random.default_rng(14), resamples=500)
    assert paired_bootstrap(ours, theirs, np.random.default_rng(14), resamples=500) == whole
    monkeypatch.setattr("training.evaluation.bootstrap._CHUNK_CELLS", 1)
    assert paired_bootstrap(ours, theirs, np.random.default_rng(14), resamples=500) == whole


spans = st.builds(
    lambda start, length, label: Span(start, start + length, label),
    st.integers(0, 20),
    st.integers(1, 4),
    st.sampled_from(["Chemical", "Disease"]),
)
texts = st.lists(
    st.tuples(st.lists(spans, max_size=5), st.lists(spans, max_size=5)), min_size=1, max_size=6
)


@settings(max_examples=40, deadline=None)
@given(texts=texts)
def test_counts_give_the_strict_micro_f1(texts: list[tuple[list[Span], list[Span]]]) -> None:
    gold, found = [pair[0] for pair in texts], [pair[1] for pair in texts]
    counts = sentence_counts(gold, found)
    assert counts.shape == (len(texts), 3)
    expected = strict_score(gold, found, ("Chemical", "Disease")).overall.f1
    assert micro_f1(counts) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        ([[1, 1, 1]], [[1, 1, 1], [0, 0, 0]], "the same sentences"),
        ([[1, 1, 1]], [[1, 1, 2]], "the same gold"),
        ([[1, 1]], [[1, 1]], r"shape \(sentences, 3\)"),
        ([[1.0, 1.0, 1.0]], [[1.0, 1.0, 1.0]], "whole numbers"),
        ([[2, 1, 2]], [[1, 1, 2]], "more true positives"),
        ([[1, 1, 1]], [[-1, 1, 1]], "negative"),
        (np.zeros((0, 3), int), np.zeros((0, 3), int), "0 sentences"),
    ],
)
def test_counts_that_cannot_be_are_refused(
    first: npt.ArrayLike, second: npt.ArrayLike, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        paired_bootstrap(first, second, np.random.default_rng(0))
