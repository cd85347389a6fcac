"""Masking: whole words, in the shares that BERT has; and batches of windows."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import TrainingError
from tests.support.checkpoints import tiny_tokenizer, tiny_vocabulary
from training.mlm.masking import (
    MaskedBatch,
    choose_words,
    corrupt,
    draw_batches,
    mask_batch,
    mask_pieces,
)
from training.mlm.text import Passage, Pieces, pack_windows, tokenise_passages
from worker.text.tokenisation import WordPieceTokeniser

TOKENISER = WordPieceTokeniser(tiny_tokenizer())
KNOWN = mask_pieces(TOKENISER.vocabulary(), 10_000)
WORDS = ("the", "Cancers", "of", "humans", "IL2", "was", "(", "proteinase", "cell", "Xyz", ".")


def some_pieces(rng: np.random.Generator, documents: int) -> Pieces:
    texts = [
        " ".join(WORDS[number] for number in rng.integers(0, len(WORDS), rng.integers(1, 60)))
        for _ in range(documents)
    ]
    return tokenise_passages([Passage(text) for text in texts], TOKENISER, 64)


def make_batch(seed: int, share: float = 0.15) -> tuple[Pieces, np.ndarray, MaskedBatch]:
    pieces = some_pieces(np.random.default_rng(seed), 20)
    windows = pack_windows(pieces, 64)
    batch = mask_batch(pieces, windows, TOKENISER, KNOWN, share, 64, np.random.default_rng(seed))
    return pieces, windows, batch


@given(
    rows=st.lists(st.integers(1, 30), min_size=1, max_size=8),
    share=st.floats(0.01, 0.9),
    seed=st.integers(0, 2**32 - 1),
)
def test_words_are_chosen_whole_and_in_the_share_asked_for(
    rows: list[int], share: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    row = np.repeat(np.arange(len(rows)), rows)
    first = rng.random(len(row)) < 0.6
    chosen = choose_words(first, row, share, rng)
    for number in range(len(rows)):
        marks, starts = chosen[row == number], first[row == number].copy()
        starts[0] = True
        words = np.split(marks, np.flatnonzero(starts)[1:])
        assert all(word.all() or not word.any() for word in words)
        assert sum(bool(word[0]) for word in words) == max(1, np.rint(share * len(words)))


def test_every_word_is_as_likely_to_be_chosen_as_another() -> None:
    rng = np.random.default_rng(1)
    row = np.repeat(np.arange(2000), 10)
    counts = choose_words(np.ones(20_000, np.bool_), row, 0.2, rng).reshape(-1, 10).sum(axis=0)
    assert counts.sum() == 4000
    assert (abs(counts - 400) < 6 * np.sqrt(2000 * 0.2 * 0.8)).all()


def test_disguises_are_masks_random_pieces_and_the_same_in_shares_of_80_10_10() -> None:
    target = TOKENISER.vocabulary()["protein"]
    seen = corrupt(np.full(50_000, target, np.int32), KNOWN, np.random.default_rng(3))
    masks, same = (seen == KNOWN.mask_id).mean(), (seen == target).mean()
    others = seen[(seen != KNOWN.mask_id) & (seen != target)]
    assert abs(masks - 0.8) < 0.01
    assert abs(same - 0.1) < 0.01
    assert abs(len(others) / 50_000 - 0.1) < 0.01
    assert set(others.tolist()) == set(KNOWN.ordinary.tolist()) - {target}


def test_random_pieces_are_ordinary_ones_that_the_encoder_has() -> None:
    vocabulary = {"[PAD]": 0, "[MASK]": 1, "[unused1]": 2, "a": 3, "[": 4, "##b": 5, "late": 9}
    known = mask_pieces(vocabulary, 9)
    assert known.mask_id == 1
    assert known.ordinary.tolist() == [3, 4, 5]
    special = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"}
    assert len(KNOWN.ordinary) == len(set(tiny_vocabulary()) - special)
    with pytest.raises(TrainingError, match="no mask piece"):
        mask_pieces({"a": 0}, 1)


@given(seed=st.integers(0, 2**32 - 1))
def test_a_batch_is_its_windows_framed_and_changed_at_the_chosen_places_alone(seed: int) -> None:
    pieces, windows, batch = make_batch(seed)
    restored = batch.ids.copy()
    restored.reshape(-1)[batch.chosen] = batch.targets
    assert batch.ids.shape[1] % 8 == 0
    chosen = np.zeros(batch.ids.shape, dtype=np.bool_)
    chosen.reshape(-1)[batch.chosen] = True
    assert chosen.sum() == len(batch.chosen)
    for row, (begin, end) in enumerate(windows.tolist()):
        length = end - begin
        assert restored[row, 0] == TOKENISER.start_id
        assert restored[row, 1 : length + 1].tolist() == pieces.ids[begin:end].tolist()
        assert restored[row, length + 1] == TOKENISER.end_id
        assert (restored[row, length + 2 :] == TOKENISER.pad_id).all()
        assert batch.mask[row].tolist() == [at < length + 2 for at in range(batch.mask.shape[1])]
        # The letter case of a masked piece is kept.
        assert batch.case[row, 1 : length + 1].tolist() == pieces.case[begin:end].tolist()
        assert not batch.case[row, length + 1 :].any()
        assert not chosen[row, [0, *range(length + 1, batch.ids.shape[1])]].any()
        words = np.split(chosen[row, 1 : length + 1], np.flatnonzero(pieces.first[begin:end])[1:])
        assert all(word.all() or not word.any() for word in words)
        assert sum(bool(word[0]) for word in words) == max(1, np.rint(0.15 * len(words)))


def test_masks_are_those_of_the_generator_alone() -> None:
    first, again, other = make_batch(5)[2], make_batch(5)[2], make_batch(5, share=0.3)[2]
    assert np.array_equal(first.ids, again.ids)
    assert np.array_equal(first.chosen, again.chosen)
    assert len(other.chosen) > len(first.chosen)


def test_a_batch_is_never_wider_than_the_encoder_reads() -> None:
    pieces = tokenise_passages([Passage("the " * 200)], TOKENISER, 61)
    windows = pack_windows(pieces, 61)
    rng = np.random.default_rng(1)
    batch = mask_batch(pieces, windows, TOKENISER, KNOWN, 0.15, 61, rng)
    assert batch.ids.shape[1] <= 61


@given(
    lengths=st.lists(st.integers(1, 62), min_size=1, max_size=300),
    budget=st.integers(64, 512),
    seed=st.integers(0, 2**32 - 1),
)
def test_batches_hold_each_window_once_within_their_budget(
    lengths: list[int], budget: int, seed: int
) -> None:
    ends = np.cumsum(lengths)
    windows = np.stack((ends - lengths, ends), axis=1)
    batches = draw_batches(windows, budget, np.random.default_rng(seed))
    assert sorted(np.concatenate(batches).tolist()) == list(range(len(lengths)))
    for batch in batches:
        longest = max(lengths[number] for number in batch) + 2
        assert longest * len(batch) <= budget
    again = draw_batches(windows, budget, np.random.default_rng(seed))
    assert all(np.array_equal(a, b) for a, b in zip(batches, again, strict=True))


def test_padding_is_little_and_the_order_is_mixed() -> None:
    rng = np.random.default_rng(2)
    lengths = rng.integers(10, 250, 20_000)
    windows = np.stack((np.cumsum(lengths) - lengths, np.cumsum(lengths)), axis=1)
    batches = draw_batches(windows, 8192, rng)
    area = sum((lengths[batch].max() + 2) * len(batch) for batch in batches)
    assert lengths.sum() / area > 0.95
    widths = [lengths[batch].max() for batch in batches]
    assert abs(np.corrcoef(widths[:-1], widths[1:])[0, 1]) < 0.3
