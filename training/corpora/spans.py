"""Conversion between word tags and character spans.

The text of a sentence is its words joined by one space; offsets count Unicode code points of it.
"""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from schemas.errors import CorpusError
from schemas.records import Span
from schemas.tags import split_tag
from schemas.tasks import Task
from training.corpora.schemes import Scheme, WordSpan, tags_from_spans, word_spans
from training.corpora.tsv import Sentence

Offsets = tuple[tuple[int, int], ...]
"""Half-open start and end of each word, in code points of the text that holds the words."""


@dataclass(frozen=True, slots=True)
class WordTags:
    """IOBES tags of words, and the spans that tags cannot encode.

    `off_boundary` are spans that do not start and end at word boundaries: they are reported, never
    moved. `overlapping` are spans that share a word with one before them.
    """

    tags: tuple[str, ...]
    off_boundary: tuple[Span, ...]
    overlapping: tuple[Span, ...]


def word_offsets(words: Sequence[str], start: int = 0) -> Offsets:
    """Return the offsets of `words`, joined by one space, in a text where they start at `start`."""
    offsets = []
    for word in words:
        offsets.append((start, start + len(word)))
        start += len(word) + 1
    return tuple(offsets)


def sentence_text(words: Sequence[str]) -> tuple[str, Offsets]:
    """Return the text of a sentence of `words`, and the offsets of each word."""
    return " ".join(words), word_offsets(words)


def spans_at(tags: Sequence[str], offsets: Offsets) -> tuple[Span, ...]:
    """Return the character spans that valid IOBES `tags` of words at `offsets` encode, in order."""
    return tuple(
        Span(offsets[found.start][0], offsets[found.end - 1][1], found.label)
        for found in word_spans(tags, Scheme.IOBES)
    )


def spans_of(sentence: Sentence) -> tuple[Span, ...]:
    """Return the mentions of `sentence` as spans of its text, in order."""
    return spans_at(sentence.tags, word_offsets(sentence.words))


def tags_of(offsets: Offsets, spans: Iterable[Span]) -> WordTags:
    """Return the IOBES tags of words at `offsets` that encode `spans`.

    Of spans that share a word, the first in the order of start, end and label is tagged.
    """
    starts = [start for start, _ in offsets]
    ends = [end for _, end in offsets]
    tagged: list[WordSpan] = []
    off_boundary: list[Span] = []
    overlapping: list[Span] = []
    for span in sorted(set(spans)):
        first = bisect_left(starts, span.start)
        last = bisect_left(ends, span.end)
        if not (
            first <= last < len(offsets) and starts[first] == span.start and ends[last] == span.end
        ):
            off_boundary.append(span)
        elif tagged and first < tagged[-1].end:
            overlapping.append(span)
        else:
            tagged.append(WordSpan(first, last + 1, span.label))
    return WordTags(tags_from_spans(len(offsets), tagged), tuple(off_boundary), tuple(overlapping))


def require_labels(task: Task, sentences: Sequence[Sentence]) -> None:
    """Check that a head has every label of a corpus.

    :raises CorpusError: if it lacks one.
    """
    used = {split_tag(tag)[1] for sentence in sentences for tag in sentence.tags} - {""}
    unknown = used - set(task.label_names)
    if unknown:
        raise CorpusError(
            f"the corpus has the labels {', '.join(sorted(unknown))}, which the head "
            f"{task.name!r} lacks; it has {', '.join(task.label_names)}"
        )
