"""Consecutive sentences as one text."""

from schemas.records import Span
from training.corpora.spans import spans_of
from training.corpora.tsv import Sentence
from training.corpora.windows import document_ranges, join_sentences


def corpus(starts: list[bool]) -> list[Sentence]:
    return [
        Sentence((f"gene{number}", "binds", "."), ("S-GENE", "O", "O"), number, first)
        for number, first in enumerate(starts)
    ]


def test_a_window_is_its_sentences_joined_by_one_space() -> None:
    sentences = [
        Sentence(("Breast", "cancer"), ("B-Disease", "E-Disease"), 1),
        Sentence(("skin", "flu"), ("O", "S-Disease"), 4),
    ]
    window = join_sentences(sentences, range(2))
    assert window.text == "Breast cancer skin flu"
    assert window.spans == (Span(0, 13, "Disease"), Span(19, 22, "Disease"))
    assert window.word_offsets == (((0, 6), (7, 13)), ((14, 18), (19, 22)))
    assert join_sentences(sentences, range(1, 2)).spans == spans_of(sentences[1])


def test_documents_are_the_stretches_between_marks() -> None:
    sentences = corpus([False, False, True, True, False])
    assert list(document_ranges(sentences)) == [range(2), range(2, 3), range(3, 5)]
    assert list(document_ranges([])) == []
