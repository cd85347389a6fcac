"""Labelled pieces, training windows, and what an epoch is made of."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.tags import iobes_tags
from schemas.tasks import TASKS
from tests.support.checkpoints import tiny_tokenizer
from training.corpora.tsv import Sentence
from training.data.examples import (
    IGNORED,
    HeadData,
    LabelledPieces,
    LabelledSentence,
    Window,
    draw_windows,
    label_sentences,
)
from training.data.sampling import Material, corpus_passes, draw_epoch, make_batches
from training.recipes.recipe import Recipe
from worker.text.tokenisation import WordPieceTokeniser

RECIPE = Recipe("test", max_sentences=4, max_pieces=32, batch_windows=3)
TASK = TASKS["ncbi-disease"]


def head_data(lengths: list[int], starts: frozenset[int] = frozenset()) -> HeadData:
    """Return a corpus whose pieces count up from 1, so that each is known by its id."""
    sentences = []
    at = 1
    for number, length in enumerate(lengths):
        ids = np.arange(at, at + length, dtype=np.int32)
        tags = np.where(ids % 2 == 0, 1, IGNORED).astype(np.int64)
        sentences.append(
            LabelledSentence(
                LabelledPieces(ids, (ids % 4).astype(np.uint8), tags), number in starts
            )
        )
        at += length
    return HeadData(TASK, tuple(sentences), 0)


def test_the_first_piece_of_each_pretoken_carries_its_tag() -> None:
    sentence = Sentence(("Ewing", "sarcoma", "in", "HeLa"), ("B-Disease", "E-Disease", "O", "O"), 1)
    data = label_sentences(TASK, [sentence], WordPieceTokeniser(tiny_tokenizer()))
    pieces = data.sentences[0].pieces
    names = iobes_tags(TASK.label_names)
    tagged = [names[tag] for tag in pieces.tags if tag != IGNORED]
    assert tagged == ["B-Disease", "E-Disease", "O", "O"]
    assert data.unreachable == 0
    assert (pieces.tags == IGNORED).sum() == len(pieces) - 4


@settings(max_examples=60)
@given(
    lengths=st.lists(st.integers(0, 80), min_size=1, max_size=30),
    starts=st.frozensets(st.integers(0, 29)),
    seed=st.integers(0, 100),
)
def test_windows_label_every_piece_exactly_once(
    lengths: list[int], starts: frozenset[int], seed: int
) -> None:
    data = head_data(lengths, starts)
    windows = draw_windows(2, data, RECIPE, np.random.default_rng(seed))
    labelled = [
        int(piece)
        for window in windows
        for piece, tag in zip(window.pieces.ids, window.pieces.tags, strict=True)
        if tag != IGNORED
    ]
    assert labelled == [piece for piece in range(1, sum(lengths) + 1) if piece % 2 == 0]
    begins = {int(s.pieces.ids[0]) for s in data.sentences if s.starts_document and len(s.pieces)}
    for window in windows:
        assert window.length <= RECIPE.max_pieces
        assert window.head == 2
        assert not begins & set(window.pieces.ids[1:].tolist()) or len(window.pieces) == 30


def test_windows_hold_one_sentence_to_the_recipes_most() -> None:
    data = head_data([2] * 400)
    sizes = {len(w.pieces) // 2 for w in draw_windows(0, data, RECIPE, np.random.default_rng(1))}
    assert sizes == {1, 2, 3, 4}
    singles = draw_windows(0, data, replace(RECIPE, single_share=1.0), np.random.default_rng(1))
    assert {len(w.pieces) for w in singles} == {2}


def test_shares_go_from_proportional_to_uniform() -> None:
    assert corpus_passes([100, 300], 1.0) == pytest.approx([1.0, 1.0])
    uniform = corpus_passes([100, 300], 0.0)
    assert [uniform[0] * 100, uniform[1] * 300] == pytest.approx([200, 200])
    half = corpus_passes([100, 300], 0.5)
    assert half[0] > 1 > half[1]
    with pytest.raises(ValueError, match="every corpus needs word pieces"):
        corpus_passes([0, 5], 1.0)


def test_an_epoch_is_a_function_of_seed_and_number() -> None:
    corpora = [head_data([3] * 50), head_data([4] * 20)]

    def flat(epoch: int, recipe: Recipe = RECIPE) -> list[tuple[int, tuple[int, ...]]]:
        return [
            (window.head, tuple(window.pieces.ids.tolist()))
            for batch in draw_epoch(Material(tuple(corpora)), recipe, epoch)
            for window in batch
        ]

    assert flat(0) == flat(0)
    assert flat(0) != flat(1)
    assert flat(0) != flat(0, replace(RECIPE, seed=14))
    seen = [piece for head, ids in flat(0) if head == 0 for piece in ids]
    assert sorted(seen) == list(range(1, 151)), "proportional: each sentence once an epoch"
    fewer = [ids for head, ids in flat(0, replace(RECIPE, sampling_exponent=0.0)) if head == 1]
    assert sum(map(len, fewer)) > 80, "uniform: the small corpus is seen more often"


@settings(max_examples=40)
@given(lengths=st.lists(st.integers(1, 30), min_size=1, max_size=60), by_pieces=st.booleans())
def test_batches_keep_to_their_limit_and_lose_no_window(
    lengths: list[int], by_pieces: bool
) -> None:
    pieces = [
        LabelledPieces(
            np.full(n, number, dtype=np.int32), np.zeros(n, np.uint8), np.zeros(n, np.int64)
        )
        for number, n in enumerate(lengths)
    ]
    windows = [Window(0, part) for part in pieces]
    recipe = replace(RECIPE, batch_pieces=64 if by_pieces else 0)
    batches = make_batches(windows, recipe, np.random.default_rng(0))
    seen = sorted(int(w.pieces.ids[0]) for batch in batches for w in batch)
    assert seen == list(range(len(lengths)))
    for batch in batches:
        if by_pieces:
            assert len(batch) * max(w.length for w in batch) <= 64
        else:
            assert len(batch) <= 3
