"""Whole documents as sentences of words and tags: what is kept, and what is named and counted."""

import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.records import Span
from training.corpora.layouts.documents import (
    DISCONTINUOUS,
    MISMATCHED,
    OFF_BOUNDARY,
    OVERLAPPING,
    Document,
    DocumentLayout,
    GoldMention,
    sentence_ranges,
)
from training.corpora.layouts.protocol import Found, Oddity, Reading
from training.corpora.schemes import Scheme
from training.corpora.spans import sentence_text, spans_of
from training.corpora.tsv import Problem, Sentence

ANY = Reading(Scheme.IOBES, None)


def scan(*documents: Document, reading: Reading = ANY) -> list[Found]:
    def read(_: Path) -> Iterator[Document | Problem]:
        yield from documents

    return list(DocumentLayout(read, ".x").scan(Path("a.x"), reading))


def document(text: str, *mentions: GoldMention) -> Document:
    return Document("d1", 7, text, mentions)


def mention(text: str, within: str, label: str = "Gene", at: int = 0) -> GoldMention:
    start = within.index(text, at)
    return GoldMention(((start, start + len(text)),), label, text)


def marked(found: list[Found]) -> list[str]:
    return [
        sentence_text(one.words)[0][span.start : span.end]
        for one in found
        if isinstance(one, Sentence)
        for span in spans_of(one)
    ]


def test_sentences_are_cut_and_hold_their_mentions() -> None:
    text = "BRCA1 binds p53 (e.g. in S. aureus). The IL-2 gene, too?\nSee Fig. 2 for TNF."
    found = scan(document(text, *(mention(x, text) for x in ("BRCA1", "p53", "IL-2", "TNF"))))
    assert [" ".join(one.words) for one in found if isinstance(one, Sentence)] == [
        "BRCA1 binds p53 ( e . g . in S . aureus ) .",
        "The IL - 2 gene , too ?",
        "See Fig . 2 for TNF .",
    ]
    assert marked(found) == ["BRCA1", "p53", "IL - 2", "TNF"]
    firsts = [(one.starts_document, one.document, one.line) for one in found]  # type: ignore[union-attr]
    assert firsts == [(True, "d1", 7), (False, "d1", 7), (False, "d1", 7)]


def test_no_sentence_ends_inside_a_mention() -> None:
    text = "We saw E. Coli. And more. Of\nThis here."
    whole = mention("E. Coli. And", text), mention("Of\nThis", text)
    found = scan(document(text, *whole))
    assert marked(found) == ["E . Coli . And", "Of This"]


def test_words_tell_not_where_a_mention_is() -> None:
    text = "phospho-ERK1 and ERK_2α"
    with_gold = scan(document(text, mention("ERK", text), mention("ERK_2α", text)))
    without = scan(document(text))
    assert [one.words for one in with_gold if isinstance(one, Sentence)] == [
        one.words for one in without if isinstance(one, Sentence)
    ]
    assert marked(with_gold) == ["ERK _ 2α"]


def test_what_tags_cannot_encode_is_named_and_counted() -> None:
    text = "rod and cone cells, blood cells of BRCA1a"
    found = scan(
        document(
            text,
            GoldMention(((0, 3), (13, 18)), "Cell", "rod cells"),
            mention("cone cells", text),
            mention("cells", text),
            mention("blood cells", text),
            mention("cells", text, at=20),
            mention("BRCA1", text),
            GoldMention(((0, 3),), "Gene", "rat"),
            GoldMention(((30, 99),), "Gene"),
            GoldMention((), "Gene"),
        )
    )
    reasons = [str(one.problem) for one in found if isinstance(one, Oddity)]
    assert reasons == [
        f"a.x, line 7: 1 mention left out: {DISCONTINUOUS}; the first in document d1: "
        "'rod and cone cells'",
        f"a.x, line 7: 3 mentions left out: {MISMATCHED}; the first in document d1: "
        "'rat' has the offsets 0-3, where the text is 'rod'",
        f"a.x, line 7: 1 mention left out: {OFF_BOUNDARY}; the first in document d1: 'BRCA1'",
        f"a.x, line 7: 2 mentions left out: {OVERLAPPING}; the first in document d1: 'cells'",
    ]
    assert marked(found) == ["cone cells", "blood cells"]


def test_spans_that_only_white_space_separates_are_one_mention() -> None:
    text = "breast\n cancer"
    found = scan(document(text, GoldMention(((8, 14), (0, 6)), "Disease", "breast cancer")))
    assert marked(found) == ["breast cancer"]
    assert not any(isinstance(one, Oddity) for one in found)


def test_labels_are_known_dropped_or_a_problem() -> None:
    text = "BRCA1 and p53 and TNF"
    gold = mention("BRCA1", text), mention("p53", text, "Junk"), mention("TNF", text, "Junk")
    kept = scan(document(text, *gold), reading=Reading(Scheme.IOBES, ("Gene",), ("Junk",)))
    assert marked(kept) == ["BRCA1"]
    assert len(kept) == 1
    problems = [
        str(one)
        for one in scan(document(text, *gold), reading=Reading(Scheme.IOBES, ("Gene",)))
        if isinstance(one, Problem)
    ]
    assert problems == [
        "a.x, line 7: unknown label 'Junk': expected one of Gene, or that the description drops it"
    ]


@pytest.mark.parametrize("text", ["", " ", "\n\n"])
def test_a_document_without_a_word_has_no_sentence(text: str) -> None:
    assert scan(document(text)) == []


PARTS = st.sampled_from(
    ["BRCA1", " ", "\n", ". ", "? ", "The", "e.g.", "é", "𝒳", "-", ")", "a", "\u00a0"]
)


@given(st.lists(PARTS, max_size=40).map("".join), st.data())
def test_sentences_hold_every_word_and_every_mention_whole(text: str, data: st.DataObject) -> None:
    words = [(m.start(), m.end()) for m in re.finditer(r"\w+", text)]
    spans = []
    if words:
        firsts = data.draw(st.lists(st.integers(0, len(words) - 1), max_size=5))
        for first in firsts:
            last = data.draw(st.integers(first, min(first + 3, len(words) - 1)))
            spans.append(Span(words[first][0], words[last][1], "Gene"))
    ranges = list(sentence_ranges(text, sorted(spans)))
    assert all(a < b for a, b in ranges)
    assert all(left[1] <= right[0] for left, right in pairwise(ranges))
    for start, end in [*words, *((span.start, span.end) for span in spans)]:
        assert sum(a <= start and end <= b for a, b in ranges) == 1
