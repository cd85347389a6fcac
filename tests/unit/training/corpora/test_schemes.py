import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.corpora.schemes import (
    Scheme,
    TagProblem,
    WordSpan,
    detect_scheme,
    malformed,
    tag_problems,
    tags_from_spans,
    to_iobes,
    word_spans,
)

LABELS = ("Disease", "Chemical")
Layout = tuple[int, list[WordSpan]]


@st.composite
def layouts(draw: st.DrawFn) -> Layout:
    """Draw a sentence's length and spans in it that do not overlap, adjacent ones included."""
    spans: list[WordSpan] = []
    place = 0
    for _ in range(draw(st.integers(0, 5))):
        start = place + draw(st.integers(0, 2))
        end = start + draw(st.integers(1, 4))
        spans.append(WordSpan(start, end, draw(st.sampled_from(LABELS))))
        place = end
    return place + draw(st.integers(0, 2)) or 1, spans


@given(layouts(), st.sampled_from(Scheme))
def test_spans_to_tags_and_back_is_the_identity(layout: Layout, scheme: Scheme) -> None:
    length, spans = layout
    tags = tags_from_spans(length, spans, scheme)
    assert len(tags) == length
    assert list(tag_problems(tags, scheme, LABELS)) == []
    assert list(word_spans(tags, scheme)) == spans


@given(layouts(), st.sampled_from(Scheme))
def test_every_scheme_converts_to_the_same_iobes(layout: Layout, scheme: Scheme) -> None:
    length, spans = layout
    assert to_iobes(tags_from_spans(length, spans, scheme), scheme) == tags_from_spans(
        length, spans
    )


@given(st.lists(st.sampled_from(["O", "B-A", "I-A", "E-A", "S-A", "B-B", "I-B", "E-B", "S-B"])))
def test_iobes_tags_are_free_of_problems_just_where_they_stand_for_spans(tags: list[str]) -> None:
    legal = not list(tag_problems(tags, Scheme.IOBES))
    spans = [
        WordSpan(found.start, found.end, found.label)
        for found in (word_spans(tags, Scheme.IOBES) if legal else ())
    ]
    rebuilt = tags_from_spans(len(tags), spans)
    assert legal == (list(rebuilt) == tags)


@given(
    st.lists(st.sampled_from(["O", "B-A", "I-A", "B-B", "I-B"])), st.sampled_from(["IOB1", "IOB2"])
)
def test_iob_tags_are_free_of_problems_just_where_they_stand_for_spans(
    tags: list[str], scheme: Scheme
) -> None:
    legal = not list(tag_problems(tags, scheme))
    if legal:
        assert list(tags_from_spans(len(tags), word_spans(tags, scheme), scheme)) == tags
    else:
        readings = word_spans(tags, scheme)
        assert list(tags_from_spans(len(tags), readings, scheme)) != tags


def test_problems_name_the_word_and_the_reason() -> None:
    tags = ("B-Disease", "O", "I-Gene", "X-Disease", "E-Disease", "B-Disease")
    problems = list(tag_problems(tags, Scheme.IOBES, LABELS))
    assert problems == [
        TagProblem(1, "illegal transition: IOBES does not allow O directly after B-Disease"),
        TagProblem(2, "unknown label 'Gene': expected one of Disease, Chemical"),
        TagProblem(
            3,
            "'X-Disease' is no IOBES tag: expected O, B-label, I-label, E-label, S-label",
        ),
        TagProblem(6, "illegal transition: the sentence ends inside a mention, with B-Disease"),
    ]


def test_a_sentence_that_begins_inside_a_mention_is_said_so() -> None:
    (problem,) = tag_problems(("I-A",), Scheme.IOB2)
    assert problem == TagProblem(
        0, "illegal transition: IOB2 does not allow I-A at the start of a sentence"
    )


@pytest.mark.parametrize("tag", ["B", "B-", "-Disease", "", "o", "E-Disease", "BI-Disease"])
def test_malformed_iob_tags(tag: str) -> None:
    assert malformed(tag, Scheme.IOB2) is not None


def test_a_label_may_hold_a_hyphen() -> None:
    tags = ("B-cell-type", "I-cell-type")
    assert to_iobes(tags, Scheme.IOB2) == ("B-cell-type", "E-cell-type")


@pytest.mark.parametrize(
    ("tags", "scheme"),
    [
        (["O", "S-A"], Scheme.IOBES),
        (["B-A", "E-A"], Scheme.IOBES),
        (["O", "I-A", "I-A"], Scheme.IOB1),
        (["I-A", "B-A"], Scheme.IOB1),
        (["B-A", "I-B"], Scheme.IOB1),
        (["B-A", "I-A", "B-A"], Scheme.IOB2),
        (["O", "O"], Scheme.IOB2),
    ],
)
def test_the_scheme_is_told_from_the_tags(tags: list[str], scheme: Scheme) -> None:
    assert detect_scheme([["O"], tags]) == scheme


def test_a_broken_iob2_file_is_not_taken_for_a_sound_one() -> None:
    tags = ["O", "B-A", "O", "I-A"]
    assert list(tag_problems(tags, detect_scheme([tags])))
