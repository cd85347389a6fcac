from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.records import Span
from training.evaluation.errors import Comparison, Edge, Outcome, compare_spans, overlap
from training.evaluation.strict import strict_score

LABELS = ("DNA", "protein")


def span(start: int, end: int, label: str = "DNA") -> Span:
    return Span(start, end, label)


@pytest.mark.parametrize(
    ("gold", "found", "outcome"),
    [
        (span(0, 4), span(0, 4), Outcome.CORRECT),
        (span(0, 4), span(0, 6), Outcome.BOUNDARY),
        (span(0, 4), span(0, 4, "protein"), Outcome.TYPE),
        (span(0, 4), span(3, 9, "protein"), Outcome.BOUNDARY_AND_TYPE),
    ],
)
def test_a_pair_has_its_class(gold: Span, found: Span, outcome: Outcome) -> None:
    assert compare_spans([gold], [found]) == (Comparison(outcome, gold, found),)


def test_what_overlaps_nothing_stands_alone() -> None:
    assert compare_spans([span(0, 4)], [span(4, 6)]) == (
        Comparison(Outcome.MISS, gold=span(0, 4)),
        Comparison(Outcome.SPURIOUS, found=span(4, 6)),
    )


@pytest.mark.parametrize(
    ("found", "left", "right"),
    [
        (span(12, 20), Edge.SHORT, Edge.EXACT),
        (span(8, 20), Edge.LONG, Edge.EXACT),
        (span(10, 18), Edge.EXACT, Edge.SHORT),
        (span(10, 22), Edge.EXACT, Edge.LONG),
        (span(12, 22), Edge.SHORT, Edge.LONG),
        (span(8, 18, "protein"), Edge.LONG, Edge.SHORT),
    ],
)
def test_a_boundary_error_says_what_is_wrong_at_each_end(
    found: Span, left: Edge, right: Edge
) -> None:
    (one,) = compare_spans([span(10, 20)], [found])
    assert (one.left, one.right) == (left, right)


def test_the_pair_that_shares_most_comes_first_and_the_rest_stands_alone() -> None:
    short, long, found = span(0, 3), span(4, 12), span(0, 12)
    assert compare_spans([short, long], [found]) == (
        Comparison(Outcome.MISS, gold=short, touches=True),
        Comparison(Outcome.BOUNDARY, long, found),
    )
    assert compare_spans([found], [short, long]) == (
        Comparison(Outcome.SPURIOUS, found=short, touches=True),
        Comparison(Outcome.BOUNDARY, found, long),
    )


def test_at_a_tie_the_same_label_is_preferred() -> None:
    found = [span(0, 4, "protein"), span(6, 10, "DNA")]
    outcomes = {one.found: one.outcome for one in compare_spans([span(0, 10)], found)}
    assert outcomes == {found[0]: Outcome.SPURIOUS, found[1]: Outcome.BOUNDARY}


def test_a_correct_mention_is_no_partner_for_another() -> None:
    assert [one.outcome for one in compare_spans([span(0, 9)], [span(0, 9), span(0, 8)])] == [
        Outcome.SPURIOUS,
        Outcome.CORRECT,
    ]


spans = st.lists(
    st.builds(
        lambda start, length, label: Span(start, start + length, label),
        st.integers(0, 14),
        st.integers(1, 7),
        st.sampled_from(LABELS),
    ),
    max_size=6,
)


@settings(deadline=None)
@given(gold=spans, found=spans)
def test_every_mention_has_one_outcome_and_the_counts_are_those_of_the_strict_scores(
    gold: list[Span], found: list[Span]
) -> None:
    comparisons = compare_spans(gold, found)
    assert Counter(one.gold for one in comparisons if one.gold) == Counter(set(gold))
    assert Counter(one.found for one in comparisons if one.found) == Counter(set(found))
    for one in comparisons:
        assert one.outcome == expected(one)
        if one.gold is None or one.found is None:
            mention, others = (one.gold, found) if one.gold else (one.found, gold)
            assert isinstance(mention, Span)
            assert one.touches == any(overlap(mention, other) for other in others)
    counts = Counter(one.outcome for one in comparisons)
    strict = strict_score([gold], [found], LABELS).overall
    right = counts[Outcome.CORRECT]
    assert strict.recall == pytest.approx(right / len(set(gold)) if gold else 0.0)
    assert strict.precision == pytest.approx(right / len(set(found)) if found else 0.0)


@settings(deadline=None)
@given(gold=spans, found=spans)
def test_no_pair_is_left_and_nothing_depends_on_the_order(
    gold: list[Span], found: list[Span]
) -> None:
    comparisons = compare_spans(gold, found)
    missed = [one.gold for one in comparisons if one.gold and one.outcome == Outcome.MISS]
    extra = [one.found for one in comparisons if one.found and one.outcome == Outcome.SPURIOUS]
    assert not any(overlap(first, second) for first in missed for second in extra)
    assert compare_spans(gold[::-1] + gold, found[::-1]) == comparisons
    starts = [one.extent for one in comparisons]
    assert starts == sorted(starts)


def expected(one: Comparison) -> Outcome:
    if one.gold is None:
        return Outcome.SPURIOUS
    if one.found is None:
        return Outcome.MISS
    same_place = (one.gold.start, one.gold.end) == (one.found.start, one.found.end)
    same_label = one.gold.label == one.found.label
    assert overlap(one.gold, one.found)
    return {
        (True, True): Outcome.CORRECT,
        (False, True): Outcome.BOUNDARY,
        (True, False): Outcome.TYPE,
        (False, False): Outcome.BOUNDARY_AND_TYPE,
    }[same_place, same_label]
