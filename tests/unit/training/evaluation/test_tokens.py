import pytest
from hypothesis import given

from schemas.records import Span
from tests.unit.training.corpora.test_spans import sentences
from training.corpora.spans import spans_of
from training.corpora.tsv import Sentence
from training.evaluation.tokens import found_tags, token_weighted_f1

WORDS = ("IL-2", "gene", "product", ".")


@pytest.mark.parametrize(
    ("spans", "tags"),
    [
        ([Span(0, 9, "A")], ("B-A", "E-A", "O", "O")),
        ([Span(3, 6, "A")], ("B-A", "E-A", "O", "O")),
        ([Span(6, 7, "A")], ("O", "S-A", "O", "O")),
        ([Span(4, 5, "A")], ("O", "O", "O", "O")),
        ([Span(0, 2, "A"), Span(3, 4, "A"), Span(10, 17, "A")], ("S-A", "O", "S-A", "O")),
        ([Span(16, 40, "A")], ("O", "O", "B-A", "E-A")),
    ],
    ids=["whole words", "widened", "within a word", "a space", "one word one tag", "past the end"],
)
def test_a_found_span_tags_every_word_it_touches(spans: list[Span], tags: tuple[str, ...]) -> None:
    assert found_tags(WORDS, spans) == tags


@given(sentences())
def test_gold_spans_give_the_gold_tags(sentence: Sentence) -> None:
    assert found_tags(sentence.words, spans_of(sentence)) == sentence.tags


def test_the_score_counts_outside_and_weighs_by_gold() -> None:
    # Gold: S O O O. Found: S S O O. F1 of S is 2/3 (1 gold), of O 4/5 (3 gold).
    sentence = Sentence(WORDS, ("S-A", "O", "O", "O"), 1)
    found = [(Span(0, 4, "A"), Span(5, 9, "A"))]
    assert token_weighted_f1([sentence], found, ["A"]) == pytest.approx((2 / 3 + 3 * 4 / 5) / 4)


def test_no_sentence_has_no_score() -> None:
    assert token_weighted_f1([], [], ["A"]) == 0.0
