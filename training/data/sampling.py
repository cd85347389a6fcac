"""Sampling of an epoch: how much of each corpus, in which batches, in which order.

Everything is drawn from a generator seeded by the recipe's seed and the epoch's number, so
two numbers identify a position in the data, and a resumed run sees the same batches.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from training.data.augmentation import Lexicon, augment_sentences
from training.data.examples import (
    NO_HEAD,
    HeadData,
    LabelledPieces,
    Window,
    draw_windows,
    split_pieces,
)
from training.recipes.recipe import Recipe

_POOL_BATCHES = 40


def corpus_passes(sizes: Sequence[int], exponent: float) -> list[float]:
    """Return the number of passes over each corpus in an epoch.

    Corpora are drawn in proportion to size ** `exponent`, and an epoch is as long as all corpora
    together: with exponent 1 each corpus is passed once; below 1, small corpora are seen more often
    and large ones less (temperature sampling, Devlin et al. 2019, multilingual BERT).
    """
    if not all(sizes):
        raise ValueError(f"every corpus needs word pieces, got the sizes {list(sizes)}")
    weights = np.array(sizes, dtype=np.float64) ** exponent
    drawn = weights / weights.sum() * sum(sizes)
    return [float(share) for share in drawn / np.array(sizes)]


@dataclass(frozen=True, slots=True, eq=False)
class Material:
    """The training data of a run: one corpus per head, in head order, and texts without gold.

    Each of `texts` is a title and abstract with soft labels. `lexicons` hold the replacements for
    augmentation, one per head; empty if nothing is augmented.
    """

    corpora: tuple[HeadData, ...]
    texts: tuple[LabelledPieces, ...] = ()
    lexicons: tuple[Lexicon, ...] = ()


def exponent_at(recipe: Recipe, epoch: int) -> float:
    """Return the sampling exponent of `epoch`, counted from 0."""
    end = recipe.sampling_exponent_end
    if end is None or recipe.epochs == 1:
        return recipe.sampling_exponent
    way = epoch / (recipe.epochs - 1)
    return recipe.sampling_exponent + way * (end - recipe.sampling_exponent)


def draw_epoch(material: Material, recipe: Recipe, epoch: int) -> list[list[Window]]:
    """Return the batches of `epoch`, counted from 0, in order."""
    rng = np.random.default_rng([recipe.seed, epoch])
    corpora = material.corpora
    passes = corpus_passes([data.pieces for data in corpora], exponent_at(recipe, epoch))
    windows: list[Window] = []
    for head, (data, share) in enumerate(zip(corpora, passes, strict=True)):
        lexicon = material.lexicons[head] if material.lexicons else None
        whole = int(share)
        for _ in range(whole):
            windows += draw_windows(head, _augmented(data, lexicon, recipe, rng), recipe, rng)
        rest = draw_windows(head, _augmented(data, lexicon, recipe, rng), recipe, rng)
        kept = rng.permutation(len(rest))[: round((share - whole) * len(rest))]
        windows += [rest[number] for number in sorted(kept.tolist())]
    if material.texts:
        drawn = rng.permutation(len(material.texts))
        for number in drawn[: round(recipe.text_share * len(drawn))].tolist():
            windows += text_windows(material.texts[number], recipe)
    return make_batches(windows, recipe, rng)


def _augmented(
    data: HeadData, lexicon: Lexicon | None, recipe: Recipe, rng: np.random.Generator
) -> HeadData:
    if lexicon is None:
        return data
    return replace(data, sentences=tuple(augment_sentences(data.sentences, lexicon, recipe, rng)))


def text_windows(pieces: LabelledPieces, recipe: Recipe) -> list[Window]:
    """Return a text without gold as windows with the head `NO_HEAD`."""
    if not len(pieces):
        return []
    return [Window(NO_HEAD, part) for part in split_pieces(pieces, recipe.max_pieces)]


def make_batches(
    windows: Sequence[Window], recipe: Recipe, rng: np.random.Generator
) -> list[list[Window]]:
    """Shuffle windows into batches of similar length: random pools are sorted and cut."""
    order = rng.permutation(len(windows))
    per_batch = (
        max(1, recipe.batch_pieces * len(windows) // max(1, sum(w.length for w in windows)))
        if recipe.batch_pieces
        else recipe.batch_windows
    )
    pool_size = per_batch * _POOL_BATCHES
    batches: list[list[Window]] = []
    for begin in range(0, len(order), pool_size):
        pool = sorted(
            (windows[number] for number in order[begin : begin + pool_size]),
            key=lambda window: -window.length,
        )
        batch: list[Window] = []
        for window in pool:
            if batch and _full(batch, recipe):
                batches.append(batch)
                batch = []
            batch.append(window)
        if batch:
            batches.append(batch)
    return [batches[number] for number in rng.permutation(len(batches))]


def _full(batch: Sequence[Window], recipe: Recipe) -> bool:
    if recipe.batch_pieces:
        return (len(batch) + 1) * batch[0].length > recipe.batch_pieces
    return len(batch) >= recipe.batch_windows
