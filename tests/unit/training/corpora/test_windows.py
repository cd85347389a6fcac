import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.records import Span
from training.corpora.spans import spans_of
from training.corpora.tsv import Sentence
from training.corpora.windows import WINDOW_SIZES, document_ranges, join_sentences, windows


def corpus(starts: list[bool]) -> list[Sentence]:
    return [
        Sentence((f"gene{number}", "binds", "."), ("S-GENE", "O", "O"), number, first)
        for number, first in enumerate(starts)
    ]


@given(st.lists(st.booleans(), max_size=60), st.integers(0, 9))
def test_windows_hold_every_sentence_once_and_cross_no_document(
    starts: list[bool], seed: int
) -> None:
    sentences = corpus(starts)
    found = list(windows(sentences, WINDOW_SIZES, np.random.default_rng(seed)))
    assert [index for window in found for index in window.sentences] == list(range(len(starts)))
    for window in found:
        assert 1 <= len(window.sentences) <= 12
        assert not any(starts[index] for index in list(window.sentences)[1:])
    again = windows(sentences, WINDOW_SIZES, np.random.default_rng(seed))
    assert list(again) == found


def test_sizes_are_drawn_evenly() -> None:
    sentences = corpus([False] * 20_000)
    sizes = [
        len(window.sentences)
        for window in windows(sentences, WINDOW_SIZES, np.random.default_rng(0))
    ]
    share = np.bincount(sizes, minlength=13)[1:] / len(sizes)
    assert np.abs(share - 1 / 12).max() < 0.015


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


@pytest.mark.parametrize("sizes", [(0, 3), (4, 3)])
def test_impossible_sizes_are_refused(sizes: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="expected 1 <= smallest <= largest"):
        list(windows(corpus([False]), sizes, np.random.default_rng(0)))
