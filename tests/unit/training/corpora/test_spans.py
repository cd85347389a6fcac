from hypothesis import given
from hypothesis import strategies as st

from schemas.records import Span
from tests.unit.training.corpora.test_schemes import layouts
from training.corpora.schemes import tags_from_spans
from training.corpora.spans import sentence_text, spans_of, tags_of, word_offsets
from training.corpora.tsv import Sentence

words_of_text = st.text(st.characters(exclude_categories=("Cs", "Zs", "Cc")), min_size=1)


@st.composite
def sentences(draw: st.DrawFn) -> Sentence:
    length, spans = draw(layouts())
    words = draw(st.lists(words_of_text, min_size=length, max_size=length))
    return Sentence(tuple(words), tags_from_spans(length, spans), 1)


@given(sentences())
def test_tags_to_spans_and_back_is_the_identity(sentence: Sentence) -> None:
    text, offsets = sentence_text(sentence.words)
    assert [text[start:end] for start, end in offsets] == list(sentence.words)
    projected = tags_of(offsets, spans_of(sentence))
    assert projected.tags == sentence.tags
    assert projected.off_boundary == projected.overlapping == ()


@given(sentences(), st.integers(0, 40), st.integers(1, 20))
def test_a_span_is_tagged_just_where_it_begins_and_ends_with_words(
    sentence: Sentence, start: int, size: int
) -> None:
    offsets = word_offsets(sentence.words)
    span = Span(start, start + size, "Disease")
    aligned = start in {first for first, _ in offsets} and span.end in {end for _, end in offsets}
    projected = tags_of(offsets, [span])
    assert projected.off_boundary == (() if aligned else (span,))
    assert (set(projected.tags) != {"O"}) == aligned


def test_offsets_count_code_points() -> None:
    sentence = Sentence(("𝛃", "TNF-α", "é"), ("O", "S-GENE", "O"), 1)
    assert spans_of(sentence) == (Span(2, 7, "GENE"),)


def test_spans_that_cut_a_word_are_reported_and_overlapping_ones_too() -> None:
    offsets = word_offsets(("IL-2", "gene", "product"))
    spans = [
        Span(0, 2, "GENE"),
        Span(0, 9, "GENE"),
        Span(5, 9, "GENE"),
        Span(3, 9, "GENE"),
        Span(10, 17, "GENE"),
        Span(10, 18, "GENE"),
    ]
    projected = tags_of(offsets, spans)
    assert projected.tags == ("B-GENE", "E-GENE", "S-GENE")
    assert projected.off_boundary == (spans[0], spans[3], spans[5])
    assert projected.overlapping == (spans[2],)
