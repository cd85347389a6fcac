"""Predictions of a tagger on the sentences of a corpus, as spans of each sentence's text."""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from schemas.records import Annotation, Mention, Span
from schemas.tasks import Task
from training.corpora.spans import sentence_text
from training.corpora.tsv import Sentence
from training.corpora.windows import document_ranges, join_sentences
from worker.system.batching import in_groups

WINDOW_SENTENCES = 8
"""The maximum number of sentences of a text in window context."""

_TEXTS_AT_ONCE = 512


class Context(StrEnum):
    """The text that the tagger reads at once: one sentence, or up to `WINDOW_SENTENCES` joined."""

    SENTENCE = "sentence"
    WINDOW = "window"


class Annotator(Protocol):
    """The interface of a tagger (`worker.tagger.Tagger`)."""

    @property
    def tasks(self) -> tuple[Task, ...]:
        """The heads."""

    def annotate(self, texts: Sequence[str]) -> list[Annotation]:
        """Predict the mentions of every head in each text, in order."""


@dataclass(frozen=True, slots=True, order=True)
class ScoredSpan:
    """A predicted span and its probability."""

    span: Span
    score: float


@dataclass(frozen=True, slots=True)
class Reading:
    """A text that the tagger reads at once: consecutive sentences.

    `sentences` are their indices in the corpus, and `starts` where each begins in the text.
    """

    text: str
    sentences: range
    starts: tuple[int, ...]


def readings_of(sentences: Sequence[Sentence], context: Context) -> list[Reading]:
    """Return the texts to read for `sentences` in `context`, in order."""
    if context == Context.SENTENCE:
        return [
            Reading(sentence_text(sentence.words)[0], range(index, index + 1), (0,))
            for index, sentence in enumerate(sentences)
        ]
    windows = [
        join_sentences(sentences, range(start, min(start + WINDOW_SENTENCES, document.stop)))
        for document in document_ranges(sentences)
        for start in range(document.start, document.stop, WINDOW_SENTENCES)
    ]
    return [
        Reading(w.text, w.sentences, tuple(offsets[0][0] for offsets in w.word_offsets))
        for w in windows
    ]


def scored_spans(mentions: Iterable[Mention], head: str) -> tuple[ScoredSpan, ...]:
    """Return the predictions of `head` in a text, in order, before overlap resolution."""
    return tuple(
        sorted(
            ScoredSpan(Span(mention.start, mention.end, mention.label), mention.score)
            for mention in mentions
            if mention.task == head
        )
    )


def annotate_texts(
    tagger: Annotator, texts: Sequence[str], head: str, progress: Callable[[int], None]
) -> Iterator[tuple[Span, ...]]:
    """Yield the predicted spans of `head` in each of `texts`; `progress` gets the number read."""
    for spans in annotate_scored(tagger, texts, head, progress):
        yield tuple(found.span for found in spans)


def annotate_scored(
    tagger: Annotator, texts: Sequence[str], head: str, progress: Callable[[int], None]
) -> Iterator[tuple[ScoredSpan, ...]]:
    """Yield the predicted spans with their probabilities, like `annotate_texts`."""
    for group in in_groups(texts, _TEXTS_AT_ONCE):
        for annotation in tagger.annotate(group):
            yield scored_spans(annotation.mentions, head)
        progress(len(group))


def assign_to_sentences(
    readings: Sequence[Reading], found: Iterable[Sequence[ScoredSpan]], sentences: int
) -> list[tuple[ScoredSpan, ...]]:
    """Distribute the predictions of each reading to its sentences, as spans of the sentence's text.

    A span that crosses the end of a sentence is assigned to the sentence it starts in and extends
    beyond that sentence's text: it equals no gold span, and counts as a false positive.

    :param sentences: the number of sentences of the corpus
    """
    out: list[list[ScoredSpan]] = [[] for _ in range(sentences)]
    for reading, spans in zip(readings, found, strict=True):
        for one in spans:
            place = bisect_right(reading.starts, one.span.start) - 1
            start = reading.starts[place]
            span = Span(one.span.start - start, one.span.end - start, one.span.label)
            out[reading.sentences[place]].append(ScoredSpan(span, one.score))
    return [tuple(spans) for spans in out]


def predict_scored(
    tagger: Annotator,
    head: str,
    sentences: Sequence[Sentence],
    context: Context,
    progress: Callable[[int], None] = lambda _: None,
) -> list[tuple[ScoredSpan, ...]]:
    """Return the predictions of `head` in each sentence with scores; see `assign_to_sentences`."""
    readings = readings_of(sentences, context)
    texts = [reading.text for reading in readings]
    return assign_to_sentences(
        readings, annotate_scored(tagger, texts, head, progress), len(sentences)
    )


def predict(
    tagger: Annotator,
    head: str,
    sentences: Sequence[Sentence],
    context: Context,
    progress: Callable[[int], None] = lambda _: None,
) -> list[tuple[Span, ...]]:
    """Return the predicted spans of `head` in each sentence, as spans of the sentence's text.

    Spans that cross the end of a sentence are handled by `assign_to_sentences`.
    """
    return [
        tuple(found.span for found in spans)
        for spans in predict_scored(tagger, head, sentences, context, progress)
    ]
