"""Word pieces, their offsets and letter-case classes; spans to tags and back."""

import dataclasses
import itertools
import string
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models

from schemas.errors import CheckpointError, RecordError
from schemas.records import Span
from schemas.tags import iobes_tags
from tests.support.checkpoints import tiny_tokenizer
from tests.support.spans import recover_spans
from worker.text.alignment import project_spans, tag_runs
from worker.text.reading_table import NEWEST, reading_of
from worker.text.tokenisation import WordPieceTokeniser, load_tokeniser

TOKENISER = WordPieceTokeniser(tiny_tokenizer())
READER = WordPieceTokeniser(tiny_tokenizer(), reading_of(NEWEST))
LINE_BREAKS = ["\n", "\r", "\r\n", *"\v\f\x1c\x1d\x1e\x85\u2028\u2029"]
TEXT = st.text(
    st.one_of(
        st.sampled_from(string.ascii_letters + string.digits + " -/()'.,\n\t"),
        st.sampled_from("".join(LINE_BREAKS)),
        st.characters(exclude_categories=["Cs"]),
    ),
    max_size=60,
)


@given(TEXT)
def test_offsets_lie_in_the_text_in_order(text: str) -> None:
    (pieces,) = TOKENISER.encode([text])
    assert (pieces.starts <= pieces.ends).all()
    assert (pieces.ends <= len(text)).all()
    assert (np.diff(pieces.starts) >= 0).all()
    assert len(pieces.pretoken_starts) == len(pieces.pretoken_ends) == int(pieces.first.sum())


def test_pieces_of_a_text_beyond_ascii_point_at_its_code_points() -> None:
    text = "𝛽-Catenin (β) causes\u00a0Sjögren's"
    (pieces,) = TOKENISER.encode([text])
    pretokens = [
        text[start:end]
        for start, end in zip(pieces.pretoken_starts, pieces.pretoken_ends, strict=True)
    ]
    assert pretokens == ["𝛽", "-", "Catenin", "(", "β", ")", "causes", "Sjögren", "'", "s"]


@pytest.mark.parametrize("line_break", LINE_BREAKS)
def test_no_pretoken_holds_a_line_break_and_each_line_has_its_own(line_break: str) -> None:
    text = f"of breast{line_break}cancer{line_break}{line_break}was the gene{line_break}"
    (pieces,) = TOKENISER.encode([text])
    words = [
        text[start:end]
        for start, end in zip(pieces.pretoken_starts, pieces.pretoken_ends, strict=True)
    ]
    assert words == ["of", "breast", "cancer", "was", "the", "gene"]
    assert pieces.line_lengths.tolist() == [2, 1, 0, 3]


@given(TEXT)
def test_the_lines_are_those_of_the_text(text: str) -> None:
    (pieces,) = TOKENISER.encode([text])
    starts = pieces.pretoken_starts.tolist()
    begins = [0, *itertools.accumulate(len(line) for line in text.splitlines(keepends=True))]
    assert pieces.line_lengths.tolist() == [
        sum(begin <= start < end for start in starts) for begin, end in itertools.pairwise(begins)
    ]


def words_of(text: str, tokeniser: WordPieceTokeniser) -> list[str]:
    (pieces,) = tokeniser.encode([text])
    return [
        text[start:end]
        for start, end in zip(pieces.pretoken_starts, pieces.pretoken_ends, strict=True)
    ]


@pytest.mark.parametrize(
    ("written", "plain"),
    [
        ("non−small cell", "non-small cell"),
        ("ＴＮＦ－α", "TNF-alpha"),
        ("ﬁbrosis of 10⁻⁷", "fibrosis of 10-7"),
        ("Sjo\u0308gren’s disease", "Sjögren's disease"),
        ("can\u00adcer", "cancer"),
        ("cancer\u00adgene", "cancer-gene"),
        ("can\u200bcer cell", "cancer cell"),
    ],
)
def test_a_text_is_read_as_its_plain_form(written: str, plain: str) -> None:
    (one,), (other,) = READER.encode([written]), READER.encode([plain])
    assert one.ids.tolist() == other.ids.tolist()
    assert one.case.tolist() == other.case.tolist()
    assert one.first.tolist() == other.first.tolist()
    assert len(words_of(written, READER)) == len(words_of(plain, READER))


def test_pretokens_are_those_of_the_text_as_it_was_given() -> None:
    text = "TNF−α in Sjo\u0308gren’s Taxol® ½ deﬁciency café\u0301."
    assert words_of(text, READER) == [
        "TNF", "−", "α", "in", "Sjo\u0308gren", "’", "s", "Taxol", "®", "½", "deﬁciency",
        "café\u0301", ".",
    ]  # fmt: skip


@given(st.one_of(TEXT, st.text(st.sampled_from("eα½®ﬁ²−\u0301\u200b\u00ad \n."), max_size=30)))
def test_with_a_reading_pretokens_are_parts_of_the_text_that_do_not_overlap(text: str) -> None:
    (pieces,) = READER.encode([text])
    starts, ends = pieces.pretoken_starts, pieces.pretoken_ends
    assert (starts < ends).all()
    assert (ends <= len(text)).all()
    assert (starts[1:] >= ends[:-1]).all()
    assert pieces.line_lengths.sum() == len(starts)
    for start, end in zip(starts, ends, strict=True):
        assert len(text[start:end].splitlines()) == 1
        assert not unicodedata.combining(text[end : end + 1] or " ") or end - start > 30


@given(st.text(st.characters(max_codepoint=127), max_size=60))
def test_a_reading_changes_nothing_in_ascii(text: str) -> None:
    (one,), (other,) = READER.encode([text]), TOKENISER.encode([text])
    for field in dataclasses.fields(one):
        assert np.array_equal(getattr(one, field.name), getattr(other, field.name))


def test_a_tokeniser_can_be_given_another_reading() -> None:
    given = TOKENISER.with_reading(NEWEST)
    assert (given.reading, TOKENISER.reading) == ("1", None)
    assert given.digest == TOKENISER.digest
    assert words_of("deﬁcient−α", given) == words_of("deﬁcient−α", READER)


def test_letter_case_survives_an_uncased_vocabulary() -> None:
    (pieces,) = TOKENISER.encode(["was WAS Was wAs 123 ΔF Été"])
    case = pieces.case[pieces.first].tolist()
    assert case[0] == 0
    spelled = TOKENISER.encode(["W w Ж ж ß 7"])[0]
    assert spelled.case.tolist() == [2, 0, 2, 0, 0, 0]
    whole = WordPieceTokeniser(tiny_tokenizer()).encode(["Cancer CANCER CanCer cancer"])[0]
    assert whole.case.tolist() == [1, 2, 3, 0]


def test_nothing_is_cut_off_or_padded() -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.enable_truncation(4)
    tokenizer.enable_padding(length=8)
    pieces = WordPieceTokeniser(tokenizer).encode(["a b c d e f g", "a"])
    assert [len(p) for p in pieces] == [7, 1]


def test_a_lone_surrogate_is_refused() -> None:
    with pytest.raises(RecordError, match="surrogate"):
        TOKENISER.encode(["fine", "bad \ud800"])


def test_a_file_that_is_no_tokeniser_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(CheckpointError, match="not a readable tokenizer"):
        load_tokeniser(tmp_path / "tokenizer.json")
    Tokenizer(models.WordLevel({"a": 0}, unk_token="a")).save(str(tmp_path / "words.json"))
    with pytest.raises(CheckpointError, match="special word pieces"):
        load_tokeniser(tmp_path / "words.json")


@st.composite
def text_with_spans(draw: st.DrawFn) -> tuple[str, list[Span]]:
    """Draw a text, and spans that begin and end at pre-token edges and do not overlap."""
    text = draw(TEXT)
    (pieces,) = TOKENISER.encode([text])
    starts, ends = pieces.pretoken_starts.tolist(), pieces.pretoken_ends.tolist()
    spans = []
    at = 0
    while at < len(starts):
        length = draw(st.integers(1, 3))
        last = min(at + length, len(starts)) - 1
        label = draw(st.sampled_from(["Chemical", "Disease", None]))
        # Pre-tokens that share code points (a character that decomposes) have no edge between.
        clean = (at == 0 or ends[at - 1] <= starts[at]) and (
            last + 1 == len(starts) or ends[last] <= starts[last + 1]
        )
        if label and clean and starts[at] < ends[last]:
            spans.append(Span(starts[at], ends[last], label))
        at = last + 1
    return text, spans


@given(text_with_spans())
def test_spans_to_tags_and_back_is_the_identity(case: tuple[str, list[Span]]) -> None:
    text, spans = case
    (pieces,) = TOKENISER.encode([text])
    labels = ("Chemical", "Disease")
    projection = project_spans(pieces, spans, labels)
    recovered = recover_spans(pieces, projection.tags, labels)
    assert sorted((*recovered, *projection.unreachable)) == sorted(spans)
    if len(set(pieces.pretoken_starts.tolist())) == len(pieces.pretoken_starts):
        assert projection.unreachable == ()


def test_spans_that_no_tags_can_stand_for_are_told() -> None:
    (pieces,) = TOKENISER.encode(["breast cancer gene"])
    spans = [Span(0, 13, "A"), Span(7, 13, "A"), Span(15, 18, "A"), Span(13, 14, "A")]
    projection = project_spans(pieces, spans, ("A",))
    assert projection.unreachable == (Span(7, 13, "A"), Span(13, 14, "A"), Span(15, 18, "A"))
    names = iobes_tags(("A",))
    assert [names[tag] for tag in projection.tags] == ["B-A", "E-A", "O"]
    with pytest.raises(ValueError, match="label 'B'"):
        project_spans(pieces, [Span(0, 6, "B")], ("A",))


def test_incomplete_mentions_make_no_run() -> None:
    assert tag_runs(["I-A", "E-A", "B-A", "O", "S-A", "B-A", "I-B", "E-A", "B-B", "E-B"]) == [
        (4, 4, "A"),
        (8, 9, "B"),
    ]
