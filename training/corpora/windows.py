"""Windows: consecutive sentences of a corpus joined to one text, as in an abstract.

A window never crosses the start of a document, where the corpus marks one.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from schemas.records import Span
from training.corpora.spans import Offsets, spans_at, word_offsets
from training.corpora.tsv import Sentence


@dataclass(frozen=True, slots=True)
class Window:
    """Consecutive sentences as one text, joined by one space.

    `spans` are the gold mentions as code points of `text`, in order; `word_offsets` holds, for each
    sentence, the offsets of its words; `sentences` is the half-open range of the sentences' indices
    in the corpus.
    """

    text: str
    spans: tuple[Span, ...]
    word_offsets: tuple[Offsets, ...]
    sentences: range


def join_sentences(sentences: Sequence[Sentence], indices: range) -> Window:
    """Return the window of `sentences` at `indices`, which must not be empty."""
    start = 0
    texts: list[str] = []
    spans: list[Span] = []
    offsets: list[Offsets] = []
    for index in indices:
        sentence = sentences[index]
        placed = word_offsets(sentence.words, start)
        texts.extend(sentence.words)
        spans.extend(spans_at(sentence.tags, placed))
        offsets.append(placed)
        start = placed[-1][1] + 1
    return Window(" ".join(texts), tuple(spans), tuple(offsets), indices)


def document_ranges(sentences: Sequence[Sentence]) -> Iterator[range]:
    """Yield the ranges of sentences between marked document starts; one range where none is."""
    start = 0
    for index, sentence in enumerate(sentences):
        if sentence.starts_document and index > start:
            yield range(start, index)
            start = index
    if start < len(sentences):
        yield range(start, len(sentences))
