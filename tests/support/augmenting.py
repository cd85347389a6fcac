"""Labelled sentences that tests augment, made of segments and read as segments again."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np

from schemas.tags import iobes_tags, may_end, may_follow, may_start
from schemas.tasks import TASKS
from tests.support.checkpoints import tiny_tokenizer
from training.corpora.schemes import Scheme, WordSpan, tags_from_spans, word_spans
from training.corpora.tsv import Sentence
from training.data.augmentation import augment, build_lexicon
from training.data.examples import (
    IGNORED,
    HeadData,
    LabelledPieces,
    LabelledSentence,
    label_sentences,
)
from training.recipes.recipe import Recipe
from worker.text.tokenisation import WordPieceTokeniser

NONE = Recipe("test")
MENTIONS = replace(NONE, mention_replacement=1.0)
TOKENS = replace(NONE, token_replacement=1.0)
SHUFFLE = replace(NONE, segment_shuffle=1.0)
ALL = replace(NONE, mention_replacement=1.0, token_replacement=1.0, segment_shuffle=1.0)
TASK = TASKS["bc5cdr"]
LABELS = TASK.label_names
TAGS = iobes_tags(LABELS)
TOKENIZER = tiny_tokenizer()
TOKENISER = WordPieceTokeniser(TOKENIZER)

Segment = tuple[str, str]
"""A label, or "O", and the words of the segment with spaces between."""

PreToken = tuple[tuple[int, ...], tuple[int, ...], int]
"""The ids, letter-case classes and tag of a pre-token."""


def head_data(*sentences: Sequence[Segment], starts: frozenset[int] = frozenset()) -> HeadData:
    """Return the sentences that segments make, as labelled pieces."""
    out = []
    for number, segments in enumerate(sentences):
        words: list[str] = []
        spans = []
        for label, text in segments:
            begin = len(words)
            words += text.split()
            if label != "O":
                spans.append(WordSpan(begin, len(words), label))
        tags = tags_from_spans(len(words), spans)
        out.append(Sentence(tuple(words), tags, 1, number in starts))
    return label_sentences(TASK, out, TOKENISER)


def pre_tokens(pieces: LabelledPieces) -> list[PreToken]:
    """Return the pre-tokens of labelled pieces."""
    begins = [*np.flatnonzero(pieces.tags != IGNORED).tolist(), len(pieces)]
    return [
        (
            tuple(pieces.ids[begin:stop].tolist()),
            tuple(pieces.case[begin:stop].tolist()),
            int(pieces.tags[begin]),
        )
        for begin, stop in pairwise(begins)
    ]


def read(pieces: LabelledPieces) -> list[Segment]:
    """Return labelled pieces as segments again; checks that their tags are legal."""
    tokens = pre_tokens(pieces)
    names = [TAGS[tag] for _, _, tag in tokens]
    check_legal(names)
    words = [TOKENIZER.decode(list(ids)).replace(" ", "") for ids, _, _ in tokens]
    out: list[Segment] = []
    done = 0
    for span in word_spans(names, Scheme.IOBES):
        if done < span.start:
            out.append(("O", " ".join(words[done : span.start])))
        out.append((span.label, " ".join(words[span.start : span.end])))
        done = span.end
    if done < len(words):
        out.append(("O", " ".join(words[done:])))
    return out


def check_legal(tags: Sequence[str]) -> None:
    """Hold that tags are a legal sequence of IOBES."""
    assert not tags or (may_start(tags[0]) and may_end(tags[-1])), tags
    for before, after in pairwise(tags):
        assert may_follow(before, after), tags


def many(data: HeadData, recipe: Recipe, times: int, number: int = 0) -> list[list[Segment]]:
    """Return what `times` generators make of one sentence of `data`."""
    lexicon = build_lexicon(data)
    pieces = data.sentences[number].pieces
    return [
        read(augment(pieces, lexicon, recipe, np.random.default_rng(seed))) for seed in range(times)
    ]


def texts(data: Iterable[LabelledSentence]) -> list[list[Segment]]:
    """Return each sentence as segments."""
    return [read(sentence.pieces) for sentence in data]
