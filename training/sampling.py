"""What an epoch is made of: how much of each corpus, in which batches, in which order.

Everything is drawn from a generator seeded by the recipe's seed and the epoch's number, so the
place in the data is two numbers and a resumed run sees the very same batches.
"""

from collections.abc import Sequence

import numpy as np

from training.examples import HeadData, Window, draw_windows
from training.recipe import Recipe

_POOL_BATCHES = 40


def corpus_shares(sizes: Sequence[int], exponent: float) -> list[float]:
    """Return how often each corpus is gone through in an epoch.

    Corpora are drawn in proportion to size ** `exponent`, and an epoch is as long as all corpora
    together: with exponent 1 each share is 1; with less, small corpora are seen more often and
    large ones less (temperature sampling, Devlin et al. 2019, multilingual BERT).
    """
    if not all(sizes):
        raise ValueError(f"every corpus needs word pieces, got the sizes {list(sizes)}")
    weights = np.array(sizes, dtype=np.float64) ** exponent
    drawn = weights / weights.sum() * sum(sizes)
    return [float(share) for share in drawn / np.array(sizes)]


def draw_epoch(corpora: Sequence[HeadData], recipe: Recipe, epoch: int) -> list[list[Window]]:
    """Return the batches of epoch number `epoch`, in order."""
    rng = np.random.default_rng([recipe.seed, epoch])
    shares = corpus_shares([data.pieces for data in corpora], recipe.sampling_exponent)
    windows: list[Window] = []
    for head, (data, share) in enumerate(zip(corpora, shares, strict=True)):
        whole = int(share)
        for _ in range(whole):
            windows += draw_windows(head, data, recipe, rng)
        rest = draw_windows(head, data, recipe, rng)
        kept = rng.permutation(len(rest))[: round((share - whole) * len(rest))]
        windows += [rest[number] for number in sorted(kept.tolist())]
    return make_batches(windows, recipe, rng)


def make_batches(
    windows: Sequence[Window], recipe: Recipe, rng: np.random.Generator
) -> list[list[Window]]:
    """Shuffle windows into batches of like length: random pools, each cut along sorted lengths."""
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
