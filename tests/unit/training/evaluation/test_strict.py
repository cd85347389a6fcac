from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.records import Span
from training.evaluation.report import Score, TypeScore
from training.evaluation.strict import strict_score, unit_tags

LABELS = ("A", "B")
any_spans = st.lists(
    st.builds(
        lambda start, size, label: Span(start, start + size, label),
        st.integers(0, 12),
        st.integers(1, 6),
        st.sampled_from(LABELS),
    ),
    max_size=6,
)


def direct(gold: list[list[Span]], found: list[list[Span]], label: str | None) -> Score:
    """Micro precision, recall and F1 of sets of spans, counted one by one."""
    counts: Counter[str] = Counter()
    for gold_spans, found_spans in zip(gold, found, strict=True):
        true = {span for span in gold_spans if label in (None, span.label)}
        predicted = {span for span in found_spans if label in (None, span.label)}
        counts.update(right=len(true & predicted), gold=len(true), found=len(predicted))
    precision = counts["right"] / counts["found"] if counts["found"] else 0.0
    recall = counts["right"] / counts["gold"] if counts["gold"] else 0.0
    total = precision + recall
    return Score(precision, recall, 2 * precision * recall / total if total else 0.0)


def values(score: Score | TypeScore) -> tuple[float, float, float]:
    return score.precision, score.recall, score.f1


@given(st.lists(st.tuples(any_spans, any_spans), max_size=5))
def test_seqeval_on_units_equals_counting_sets_of_spans(
    texts: list[tuple[list[Span], list[Span]]],
) -> None:
    """Whatever the spans: cutting words, overlapping, nested, doubled, of several labels."""
    gold = [one for one, _ in texts]
    found = [other for _, other in texts]
    score = strict_score(gold, found, LABELS)
    assert values(score.overall) == pytest.approx(values(direct(gold, found, None)))
    for label in LABELS:
        by_type = score.by_type[label]
        assert values(by_type) == pytest.approx(values(direct(gold, found, label)))
        assert by_type.support == sum(span.label == label for spans in gold for span in set(spans))


def test_a_span_that_cuts_a_word_is_found_wrongly() -> None:
    # "IL-2 gene": gold is the word IL-2; the head found IL alone, then IL-2 with half of "gene".
    gold = [(Span(0, 4, "A"),)]
    assert strict_score(gold, [(Span(0, 2, "A"),)], LABELS).overall == Score(0.0, 0.0, 0.0)
    both = strict_score(gold, [(Span(0, 4, "A"), Span(5, 7, "A"))], LABELS)
    assert (both.overall.precision, both.overall.recall) == (0.5, 1.0)


def test_the_units_are_the_stretches_between_edges() -> None:
    ((gold, found),) = unit_tags([Span(0, 9, "A")], [Span(0, 4, "A"), Span(5, 9, "A")])
    assert gold == ["B-A", "I-A", "E-A"]
    assert found == ["S-A", "O", "S-A"]


def test_overlapping_spans_of_one_side_get_layers_of_their_own() -> None:
    outer, inner = Span(0, 9, "A"), Span(5, 9, "A")
    layers = unit_tags([outer, inner], [inner, inner])
    assert layers == [(["S-A"], ["O"]), (["S-A"], ["S-A"])]


def test_labels_without_a_mention_have_zeros() -> None:
    score = strict_score([[Span(0, 1, "A")], []], [[Span(0, 1, "A")], []], LABELS)
    assert score.by_type == {
        "A": TypeScore(1.0, 1.0, 1.0, 1),
        "B": TypeScore(0.0, 0.0, 0.0, 0),
    }


def test_nothing_at_all_is_zero_and_warns_of_nothing(recwarn: pytest.WarningsRecorder) -> None:
    assert strict_score([[], []], [[], []], ["A"]).overall == Score(0.0, 0.0, 0.0)
    assert strict_score([], [], ["A"]).overall == Score(0.0, 0.0, 0.0)
    assert strict_score([[]], [[Span(0, 1, "A")]], LABELS).overall == Score(0.0, 0.0, 0.0)
    assert [str(warning.message) for warning in recwarn] == []


def test_bad_spans_are_refused() -> None:
    with pytest.raises(ValueError, match="label 'C' is not among"):
        strict_score([[Span(0, 1, "C")]], [[]], LABELS)
    with pytest.raises(ValueError, match="is empty"):
        strict_score([[Span(3, 3, "A")]], [[]], LABELS)
    with pytest.raises(ValueError, match="zip"):
        strict_score([[]], [], LABELS)
