"""What a tagger finds in the sentences of a corpus, as spans of each sentence's text."""

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from enum import StrEnum
from typing import Protocol

from schemas.records import Annotation, Span
from schemas.tasks import Task
from training.corpora.spans import sentence_text
from training.corpora.tsv import Sentence
from training.corpora.windows import document_ranges, join_sentences

WINDOW_SENTENCES = 8
"""How many sentences the tagger reads at once in window context."""

_TEXTS_AT_ONCE = 512


class Context(StrEnum):
    """What the tagger reads at once: one sentence, or up to `WINDOW_SENTENCES` joined."""

    SENTENCE = "sentence"
    WINDOW = "window"


class Annotator(Protocol):
    """What is asked of a tagger (`worker.tagger.Tagger`)."""

    @property
    def tasks(self) -> tuple[Task, ...]:
        """The heads."""

    def annotate(self, texts: Sequence[str]) -> list[Annotation]:
        """Find the mentions of every head in each text, in order."""


def spans_of_head(annotation: Annotation, head: str) -> tuple[Span, ...]:
    """Return what `head` found, in order, whatever the overlap policy prefers."""
    return tuple(
        sorted(
            Span(mention.start, mention.end, mention.label)
            for mention in annotation.mentions
            if mention.task == head
        )
    )


def annotate_texts(
    tagger: Annotator, texts: Sequence[str], head: str, progress: Callable[[int], None]
) -> Iterator[tuple[Span, ...]]:
    """Yield what `head` finds in each of `texts`; `progress` is told how many texts were read."""
    for begin in range(0, len(texts), _TEXTS_AT_ONCE):
        group = texts[begin : begin + _TEXTS_AT_ONCE]
        for annotation in tagger.annotate(group):
            yield spans_of_head(annotation, head)
        progress(len(group))


def predict(
    tagger: Annotator,
    head: str,
    sentences: Sequence[Sentence],
    context: Context,
    progress: Callable[[int], None] = lambda _: None,
) -> list[tuple[Span, ...]]:
    """Return what `head` finds in each sentence, as spans of the sentence's own text.

    In window context a span that crosses the end of a sentence is given to the sentence it begins
    in and reaches past that sentence's text: it equals no gold span, and counts as found wrongly.
    """
    if context == Context.SENTENCE:
        texts = [sentence_text(sentence.words)[0] for sentence in sentences]
        return list(annotate_texts(tagger, texts, head, progress))
    ranges = [
        range(start, min(start + WINDOW_SENTENCES, document.stop))
        for document in document_ranges(sentences)
        for start in range(document.start, document.stop, WINDOW_SENTENCES)
    ]
    windows = [join_sentences(sentences, indices) for indices in ranges]
    found: list[list[Span]] = [[] for _ in sentences]
    texts = [window.text for window in windows]
    for window, spans in zip(windows, annotate_texts(tagger, texts, head, progress), strict=True):
        starts = [offsets[0][0] for offsets in window.word_offsets]
        for span in spans:
            place = bisect_right(starts, span.start) - 1
            found[window.sentences[place]].append(
                Span(span.start - starts[place], span.end - starts[place], span.label)
            )
    return [tuple(spans) for spans in found]
