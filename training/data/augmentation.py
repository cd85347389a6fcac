"""Data augmentation of training sentences, drawn again for each epoch (Dai and Adel 2020).

"An Analysis of Simple Data Augmentation for Named Entity Recognition" has
three methods that need only the training sentences: mentions are replaced by others of the same
label, pre-tokens by others with the same tag, and pre-tokens are shuffled within their segment (a
mention, or a span outside all mentions). Here each is applied to a sentence with the recipe's
probability, in that order, and within such a sentence to each mention, pre-token or segment with
the probabilities below (the paper's binomial p).

Augmentation works on word pieces, since the splitting of a pre-token does not depend on its
neighbours, and on all sentences at once: pre-tokens are indices into flat arrays, and the pieces
are gathered at the end.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from schemas.tags import POSITIONS, iobes_tags
from training.data.examples import IGNORED, HeadData, LabelledPieces, LabelledSentence, join_soft
from training.recipes.recipe import Recipe

MENTION_FRACTION = 0.5
"""The fraction of mentions that are replaced in a sentence chosen for mention replacement."""
TOKEN_FRACTION = 0.2
"""The fraction of pre-tokens that are replaced in a sentence chosen for token replacement."""
SEGMENT_FRACTION = 0.5
"""The fraction of segments that are shuffled in a sentence chosen for segment shuffling."""

_OUTSIDE = -1  # the label of a segment outside all mentions
_UNKNOWN = -2  # the label of a segment that is an incomplete mention

_Numbers = npt.NDArray[np.int64]
_Chosen = npt.NDArray[np.bool_]
_Value = TypeVar("_Value", bound=np.generic)


@dataclass(frozen=True, slots=True, eq=False)
class PreTokens:
    """The pre-tokens of many sentences, concatenated.

    `ids` and `case` have shape (pieces,). `begins` and `sizes` give the piece range of each
    pre-token, `tags` its tag and `sentences` the index of its sentence, all of shape (pre-tokens,).
    A piece without a tag belongs to the pre-token before it; at the start of a sentence it forms a
    pre-token with the tag `IGNORED`, which is never moved.
    """

    ids: npt.NDArray[np.int32]
    case: npt.NDArray[np.uint8]
    begins: _Numbers
    sizes: _Numbers
    tags: _Numbers
    sentences: _Numbers

    def __len__(self) -> int:
        return len(self.tags)


@dataclass(frozen=True, slots=True, eq=False)
class Lexicon:
    """The replacements to draw from: all mentions and pre-tokens of a head's training sentences.

    Each occurrence is an entry, so that draws follow frequency. Mentions are
    runs of `tokens`: `mention_begins` and `mention_sizes` have shape (mentions,), and those of
    label k are entries `label_bounds[k]` to `label_bounds[k + 1]`. `by_tag` has shape
    (pre-tokens,); the pre-tokens with tag t are its entries `tag_bounds[t]` to `tag_bounds[t + 1]`.
    """

    tokens: PreTokens
    mention_begins: _Numbers
    mention_sizes: _Numbers
    label_bounds: _Numbers
    by_tag: _Numbers
    tag_bounds: _Numbers


@dataclass(frozen=True, slots=True, eq=False)
class _Segments:
    """Mentions and the spans between them as runs of pre-tokens, all of shape (segments,)."""

    begins: _Numbers
    sizes: _Numbers
    labels: _Numbers


def build_lexicon(data: HeadData) -> Lexicon:
    """Collect the mentions and pre-tokens of all sentences of `data`."""
    tokens = _pre_tokens([sentence.pieces for sentence in data.sentences])
    segments = _segments(tokens)
    labels = len(data.task.label_names)
    tags = len(iobes_tags(data.task.label_names))
    mentions = _sorted_by(segments.labels, labels)
    by_tag = _sorted_by(tokens.tags, tags)
    return Lexicon(
        tokens=tokens,
        mention_begins=segments.begins[mentions],
        mention_sizes=segments.sizes[mentions],
        label_bounds=np.searchsorted(segments.labels[mentions], np.arange(labels + 1)),
        by_tag=by_tag,
        tag_bounds=np.searchsorted(tokens.tags[by_tag], np.arange(tags + 1)),
    )


def augment(
    pieces: LabelledPieces, lexicon: Lexicon, recipe: Recipe, rng: np.random.Generator
) -> LabelledPieces:
    """Augment one sentence; the same object is returned if unchanged."""
    chances = _chances(recipe)
    if not chances.any() or not len(pieces):
        return pieces
    return _augmented([pieces], rng.random((1, len(chances))) < chances, lexicon, rng)[0]


def augment_sentences(
    sentences: Sequence[LabelledSentence],
    lexicon: Lexicon,
    recipe: Recipe,
    rng: np.random.Generator,
) -> Sequence[LabelledSentence]:
    """Augment the sentences that `rng` chooses with entries from their head's lexicon.

    The mentions of a sentence keep their number, order and labels, and its tags stay legal.
    Sentences in which nothing is replaced or shuffled are the same objects. With all three
    probabilities 0 the same sequence is returned, and nothing is drawn from `rng`.

    A replaced or moved pre-token has no soft labels, since teachers have not read it there.
    Pre-tokens without a gold tag are not changed.
    """
    chances = _chances(recipe)
    if not chances.any():
        return sentences
    chosen = rng.random((len(sentences), len(chances))) < chances
    numbers = [n for n in np.flatnonzero(chosen.any(axis=1)).tolist() if len(sentences[n].pieces)]
    if not numbers:
        return sentences
    old = [sentences[number].pieces for number in numbers]
    out = list(sentences)
    for number, pieces in zip(numbers, _augmented(old, chosen[numbers], lexicon, rng), strict=True):
        if pieces is not sentences[number].pieces:
            out[number] = replace(sentences[number], pieces=pieces)
    return tuple(out)


def _chances(recipe: Recipe) -> npt.NDArray[np.float64]:
    return np.array([recipe.mention_replacement, recipe.token_replacement, recipe.segment_shuffle])


def _augmented(
    sentences: Sequence[LabelledPieces],
    chosen: _Chosen,
    lexicon: Lexicon,
    rng: np.random.Generator,
) -> list[LabelledPieces]:
    """Augment non-empty `sentences`; `chosen`, shape (sentences, 3), selects the methods for each.

    Pre-tokens are indices: first those of `sentences`, then those of the lexicon.
    """
    own = _pre_tokens(sentences)
    segments = _segments(own)
    segment_sentences = own.sentences[segments.begins]
    changed = np.zeros(len(sentences), dtype=np.bool_)

    begins, sizes = segments.begins.copy(), segments.sizes.copy()
    replaced = np.flatnonzero(
        chosen[segment_sentences, 0]
        & (segments.labels >= 0)
        & (rng.random(len(begins)) < MENTION_FRACTION)
    )
    replaced, drawn = _draw(replaced, segments.labels, lexicon.label_bounds, rng)
    begins[replaced] = len(own) + lexicon.mention_begins[drawn]
    sizes[replaced] = lexicon.mention_sizes[drawn]
    changed[segment_sentences[replaced]] = True

    tokens = _runs(begins, sizes)
    tags = _take(own.tags, lexicon.tokens.tags, tokens)
    token_segments = np.repeat(np.arange(len(begins)), sizes)
    token_sentences = segment_sentences[token_segments]

    replaced = np.flatnonzero(
        chosen[token_sentences, 1] & (tags >= 0) & (rng.random(len(tokens)) < TOKEN_FRACTION)
    )
    replaced, drawn = _draw(replaced, tags, lexicon.tag_bounds, rng)
    tokens[replaced] = len(own) + lexicon.by_tag[drawn]
    changed[token_sentences[replaced]] = True

    shuffled = (
        chosen[segment_sentences, 2]
        & (segments.labels != _UNKNOWN)
        & (sizes > 1)
        & (rng.random(len(begins)) < SEGMENT_FRACTION)
    )
    indices = np.flatnonzero(shuffled[token_segments])
    tokens[indices] = tokens[indices][
        np.lexsort((rng.random(len(indices)), token_segments[indices]))
    ]
    changed[segment_sentences[shuffled]] = True

    soft = join_soft(sentences)
    if soft is not None:
        soft = _kept_soft(soft, own, tokens, np.delete(np.arange(len(tokens)), indices))
        soft = soft[tags != IGNORED]
    new = _pieces(own, lexicon.tokens, tokens, tags, soft, token_sentences)
    return [new[n] if is_new else sentences[n] for n, is_new in enumerate(changed.tolist())]


def _draw(
    indices: _Numbers, kinds: _Numbers, bounds: _Numbers, rng: np.random.Generator
) -> tuple[_Numbers, _Numbers]:
    """Draw a replacement of the same kind for each of `indices` into `kinds`.

    The candidates of kind k are `bounds[k]` to `bounds[k + 1]`. Returns the indices whose kind has
    candidates, and the candidate drawn for each.
    """
    indices = indices[bounds[kinds[indices]] < bounds[kinds[indices] + 1]]
    return indices, rng.integers(bounds[kinds[indices]], bounds[kinds[indices] + 1])


def _pre_tokens(sentences: Sequence[LabelledPieces]) -> PreTokens:
    filled = [pieces for pieces in sentences if len(pieces)]
    numbers = np.flatnonzero([len(pieces) for pieces in sentences])
    lengths = np.array([len(pieces) for pieces in filled], dtype=np.int64)
    tags = np.concatenate([np.zeros(0, np.int64), *(pieces.tags for pieces in filled)])
    first = tags != IGNORED
    first[np.cumsum(lengths) - lengths] = True
    begins = np.flatnonzero(first)
    return PreTokens(
        ids=np.concatenate([np.zeros(0, np.int32), *(pieces.ids for pieces in filled)]),
        case=np.concatenate([np.zeros(0, np.uint8), *(pieces.case for pieces in filled)]),
        begins=begins,
        sizes=np.diff(begins, append=len(tags)),
        tags=tags[begins],
        sentences=np.repeat(numbers, lengths)[begins],
    )


def _segments(tokens: PreTokens) -> _Segments:
    tags = tokens.tags
    inside = tags > 0
    labels = np.where(inside, (tags - 1) // len(POSITIONS), np.where(tags, _UNKNOWN, _OUTSIDE))
    position = np.where(inside, (tags - 1) % len(POSITIONS), -1)
    begin, middle, end, single = range(len(POSITIONS))
    goes_on = np.zeros(len(tags), dtype=np.bool_)
    open_before = (position[:-1] == begin) | (position[:-1] == middle)
    wants_before = (position[1:] == middle) | (position[1:] == end)
    goes_on[1:] = (
        (tokens.sentences[1:] == tokens.sentences[:-1])
        & (labels[1:] == labels[:-1])
        & ((labels[1:] == _OUTSIDE) | (open_before & wants_before))
    )
    begins = np.flatnonzero(~goes_on)
    sizes = np.diff(begins, append=len(tags))
    first, last = position[begins], position[begins + sizes - 1]
    complete = (first == single) | ((first == begin) & (last == end))
    found = labels[begins]
    return _Segments(begins, sizes, np.where((found >= 0) & ~complete, _UNKNOWN, found))


def _pieces(
    own: PreTokens,
    other: PreTokens,
    tokens: _Numbers,
    tags: _Numbers,
    soft: npt.NDArray[np.float16] | None,
    sentences: _Numbers,
) -> list[LabelledPieces]:
    """Gather the word pieces of the pre-tokens `tokens`, in order of their sentences.

    `soft` has a row for each pre-token with a tag.
    """
    begins = _take(own.begins, other.begins, tokens)
    begins[tokens >= len(own)] += len(own.ids)
    sizes = _take(own.sizes, other.sizes, tokens)
    pieces = _runs(begins, sizes)
    ids, case = _take(own.ids, other.ids, pieces), _take(own.case, other.case, pieces)
    spread = np.full(len(pieces), IGNORED, dtype=np.int64)
    stops = np.cumsum(sizes)
    spread[stops - sizes] = tags
    rows = np.cumsum(tags != IGNORED)
    last = np.flatnonzero(np.diff(sentences, append=-1))
    out = []
    begin = row = 0
    for stop, next_row in zip(stops[last].tolist(), rows[last].tolist(), strict=True):
        part = None if soft is None else soft[row:next_row]
        out.append(LabelledPieces(ids[begin:stop], case[begin:stop], spread[begin:stop], part))
        begin, row = stop, next_row
    return out


def _kept_soft(
    soft: npt.NDArray[np.float16], own: PreTokens, tokens: _Numbers, unmoved: _Numbers
) -> npt.NDArray[np.float16]:
    """Return the soft labels of `tokens`: rows of NaN where a pre-token was replaced or moved.

    `soft` has a row for each of `own` with a tag; `unmoved` are indices into `tokens`.
    """
    out = np.full((len(tokens), soft.shape[1]), np.nan, dtype=np.float16)
    tagged = own.tags != IGNORED
    kept = unmoved[tokens[unmoved] < len(own)]
    kept = kept[tagged[tokens[kept]]]
    out[kept] = soft[np.cumsum(tagged)[tokens[kept]] - 1]
    return out


def _take(
    own: npt.NDArray[_Value], other: npt.NDArray[_Value], numbers: _Numbers
) -> npt.NDArray[_Value]:
    """Index into the concatenation of `own` and `other`."""
    out = np.empty(len(numbers), dtype=own.dtype)
    is_own = numbers < len(own)
    out[is_own] = own[numbers[is_own]]
    out[~is_own] = other[numbers[~is_own] - len(own)]
    return out


def _runs(begins: _Numbers, sizes: _Numbers) -> _Numbers:
    """Return the concatenated ranges that start at `begins` and have the lengths `sizes`."""
    stops = np.cumsum(sizes)
    numbers: _Numbers = np.repeat(begins - (stops - sizes), sizes)
    return numbers + np.arange(len(numbers))


def _sorted_by(kinds: _Numbers, count: int) -> _Numbers:
    """Return the indices of the entries of kinds 0 to `count`, sorted by kind."""
    order = np.argsort(kinds, kind="stable")
    low, high = np.searchsorted(kinds[order], (0, count))
    return order[low:high]
