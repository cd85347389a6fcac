"""Training examples: corpus sentences as labelled word pieces, and windows of sentences.

Joining sentences by a space adds no word piece, so a window's pieces are the concatenated pieces
of its sentences, and each sentence is tokenised only once.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from schemas.tasks import Task
from training.corpora.spans import sentence_text, spans_of
from training.corpora.tsv import Sentence
from training.recipes.recipe import Recipe
from worker.text.alignment import project_spans
from worker.text.tokenisation import WordPieces, WordPieceTokeniser
from worker.text.windows import SPECIAL_PIECES, cut_windows

IGNORED = -100
"""The tag of a piece that is not the first of its pre-token: it has no loss."""

UNLABELLED = -1
"""The tag of a first piece without gold: it learns from soft labels alone."""

NO_HEAD = -1
"""The head index of a window that belongs to no corpus."""


@dataclass(frozen=True, slots=True, eq=False)
class LabelledPieces:
    """Word pieces with the tag of each, all of shape (pieces,).

    `tags` indexes the head's own tags at first pieces of pre-tokens, and is `IGNORED` elsewhere.
    `soft`, if there is any, holds the teachers' tag probabilities for each first piece, shape
    (first pieces, tags of all heads); a row of NaN means no soft label.
    """

    ids: npt.NDArray[np.int32]
    case: npt.NDArray[np.uint8]
    tags: npt.NDArray[np.int64]
    soft: npt.NDArray[np.float16] | None = None

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, slots=True, eq=False)
class LabelledSentence:
    """A sentence of a corpus as labelled pieces; `starts_document` ends a window before it."""

    pieces: LabelledPieces
    starts_document: bool


@dataclass(frozen=True, slots=True, eq=False)
class HeadData:
    """All training sentences of one head; `unreachable` counts mentions that no tags can encode."""

    task: Task
    sentences: tuple[LabelledSentence, ...]
    unreachable: int

    @property
    def pieces(self) -> int:
        """The number of word pieces of all sentences."""
        return sum(len(sentence.pieces) for sentence in self.sentences)


@dataclass(frozen=True, slots=True, eq=False)
class Window:
    """One training example: consecutive sentences of the corpus of the head with index `head`.

    A text without gold has the head `NO_HEAD`.
    """

    head: int
    pieces: LabelledPieces

    @property
    def length(self) -> int:
        """The window's length in word pieces, special pieces included."""
        return len(self.pieces) + SPECIAL_PIECES


def label_sentences(
    task: Task, sentences: Sequence[Sentence], tokeniser: WordPieceTokeniser
) -> HeadData:
    """Split `sentences` into word pieces and project their mentions onto them.

    :raises ValueError: if a sentence has a label that `task` lacks.
    """
    encoded = tokeniser.encode([sentence_text(sentence.words)[0] for sentence in sentences])
    out = []
    unreachable = 0
    for sentence, pieces in zip(sentences, encoded, strict=True):
        projection = project_spans(pieces, spans_of(sentence), task.label_names)
        unreachable += len(projection.unreachable)
        out.append(LabelledSentence(_labelled(pieces, projection.tags), sentence.starts_document))
    return HeadData(task, tuple(out), unreachable)


def _labelled(pieces: WordPieces, tags: npt.NDArray[np.int64]) -> LabelledPieces:
    spread = np.full(len(pieces), IGNORED, dtype=np.int64)
    spread[pieces.first] = tags
    return LabelledPieces(pieces.ids, pieces.case, spread)


def draw_windows(
    head: int, data: HeadData, recipe: Recipe, rng: np.random.Generator
) -> list[Window]:
    """Partition a corpus into windows of random size; every sentence is in exactly one.

    Windows do not cross document boundaries and have at most the recipe's `max_pieces`. A longer
    sentence becomes several overlapping windows, in which each piece is labelled once.
    """
    room = recipe.max_pieces - SPECIAL_PIECES
    windows: list[Window] = []
    begun: list[LabelledPieces] = []
    length = wanted = 0

    def close() -> None:
        nonlocal length
        if begun:
            windows.append(Window(head, join_pieces(begun)))
            begun.clear()
            length = 0

    for sentence in data.sentences:
        pieces = sentence.pieces
        if not len(pieces):
            continue
        if sentence.starts_document or len(begun) >= wanted or length + len(pieces) > room:
            close()
        if not begun:
            single = rng.random() < recipe.single_share
            size = int(rng.integers(recipe.min_sentences, recipe.max_sentences + 1))
            wanted = recipe.min_sentences if single else size
        if len(pieces) > room:
            windows.extend(Window(head, part) for part in split_pieces(pieces, recipe.max_pieces))
            continue
        begun.append(pieces)
        length += len(pieces)
    close()
    return windows


def join_pieces(parts: Sequence[LabelledPieces]) -> LabelledPieces:
    """Concatenate pieces; if some have soft labels, those of the others are NaN."""
    return LabelledPieces(
        np.concatenate([part.ids for part in parts]),
        np.concatenate([part.case for part in parts]),
        np.concatenate([part.tags for part in parts]),
        join_soft(parts),
    )


def join_soft(parts: Sequence[LabelledPieces]) -> npt.NDArray[np.float16] | None:
    """Concatenate the soft labels of pieces; None if none has any."""
    width = max((part.soft.shape[1] for part in parts if part.soft is not None), default=0)
    if not width:
        return None
    return np.concatenate(
        [
            part.soft
            if part.soft is not None
            else np.full((np.count_nonzero(part.tags != IGNORED), width), np.nan, np.float16)
            for part in parts
        ]
    )


def split_pieces(pieces: LabelledPieces, max_pieces: int) -> list[LabelledPieces]:
    """Cut one text into windows that overlap; each piece is labelled in one of them."""
    out = []
    before = np.cumsum(np.concatenate([[False], pieces.tags != IGNORED]))
    for window in cut_windows(0, len(pieces), max_pieces, max_pieces // 4):
        tags = np.full(window.stop - window.start, IGNORED, dtype=np.int64)
        kept = slice(window.keep_start, window.keep_stop)
        shifted = slice(window.keep_start - window.start, window.keep_stop - window.start)
        tags[shifted] = pieces.tags[kept]
        inside = slice(window.start, window.stop)
        soft = pieces.soft
        if soft is not None:
            soft = soft[before[window.keep_start] : before[window.keep_stop]]
        out.append(LabelledPieces(pieces.ids[inside], pieces.case[inside], tags, soft))
    return out
