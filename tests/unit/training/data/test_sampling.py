"""What an epoch is made of."""

import itertools
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.tasks import TASKS
from tests.support.checkpoints import tiny_tokenizer
from training.corpora.tsv import Sentence
from training.data.augmentation import build_lexicon
from training.data.examples import NO_HEAD, HeadData, Window, label_sentences
from training.data.sampling import Material, corpus_passes, draw_epoch, exponent_at
from training.finetune.teachers import tokenise_texts
from training.recipes.recipe import Recipe
from worker.text.tokenisation import WordPieceTokeniser

TOKENISER = WordPieceTokeniser(tiny_tokenizer())
RECIPE = Recipe("test", epochs=4, max_sentences=3, max_pieces=64, batch_windows=4, seed=3)
WORDS = ("the", "of", "cancer", "in", "with", "protein", "was", "for", "gene", "disease", "cell")


def corpus(task: str, label: str, sentences: int) -> HeadData:
    """Sentences of four words each, of which the third is a mention."""
    words = itertools.cycle(WORDS)
    out = []
    for number in range(sentences):
        four = tuple(next(words) for _ in range(4))
        out.append(Sentence(four, ("O", "O", f"S-{label}", "O"), number * 5 + 1))
    return label_sentences(TASKS[task], out, TOKENISER)


CORPORA = (corpus("ncbi-disease", "Disease", 40), corpus("bc2gm", "GENE", 10))


def contents(epoch: list[list[Window]]) -> list[list[tuple[int, bytes, bytes, bytes]]]:
    return [
        [
            (w.head, w.pieces.ids.tobytes(), w.pieces.case.tobytes(), w.pieces.tags.tobytes())
            for w in batch
        ]
        for batch in epoch
    ]


@given(
    sizes=st.lists(st.integers(1, 10**7), min_size=1, max_size=6),
    exponent=st.floats(0, 1),
)
def test_an_epoch_is_as_long_as_all_corpora_however_they_are_drawn(
    sizes: list[int], exponent: float
) -> None:
    shares = corpus_passes(sizes, exponent)
    drawn = [share * size for share, size in zip(shares, sizes, strict=True)]
    assert sum(drawn) == pytest.approx(sum(sizes))
    for (a, of_a), (b, of_b) in itertools.pairwise(zip(sizes, drawn, strict=True)):
        assert of_a / of_b == pytest.approx((a / b) ** exponent, rel=1e-6)


def test_the_exponent_moves_in_equal_steps_from_its_start_to_its_end() -> None:
    annealed = replace(RECIPE, sampling_exponent=0.5, sampling_exponent_end=0.8)
    assert [exponent_at(annealed, epoch) for epoch in range(4)] == pytest.approx(
        [0.5, 0.6, 0.7, 0.8]
    )
    assert exponent_at(replace(annealed, epochs=1), 0) == 0.5
    assert [exponent_at(RECIPE, epoch) for epoch in (0, 3)] == [1.0, 1.0]


def test_an_annealed_epoch_draws_as_much_of_each_corpus_as_its_exponent_says() -> None:
    annealed = replace(
        RECIPE, sampling_exponent=0.0, sampling_exponent_end=1.0, max_sentences=1, epochs=2
    )
    counts = [
        Counter(w.head for batch in draw_epoch(Material(CORPORA), annealed, n) for w in batch)
        for n in range(2)
    ]
    # Of 40 and 10 sentences of about one length: as much of each at first, then in proportion.
    assert counts[0][0] == pytest.approx(25, abs=2)
    assert counts[0][1] == pytest.approx(25, abs=2)
    assert counts[1] == {0: 40, 1: 10}


@pytest.mark.parametrize(("share", "expected"), [(0.0, 0), (0.3, 6), (1.0, 20)])
def test_an_epoch_goes_through_its_share_of_the_texts_each_once(
    share: float, expected: int
) -> None:
    texts = [f"the cancer {'of the cell ' * number}" for number in range(1, 21)]
    pieces = tokenise_texts(texts, TOKENISER)
    recipe = replace(RECIPE, text_share=share, max_pieces=128)
    drawn = [
        {
            w.pieces.ids.tobytes()
            for batch in draw_epoch(Material(CORPORA, pieces), recipe, epoch)
            for w in batch
            if w.head == NO_HEAD
        }
        for epoch in range(2)
    ]
    whole = {one.ids.tobytes() for one in pieces}
    for epoch in drawn:
        assert len(epoch) == expected
        assert epoch <= whole
    if 0 < share < 1:
        assert drawn[0] != drawn[1], "each epoch has others"


def test_an_epoch_is_drawn_the_same_again_and_each_epoch_differs() -> None:
    recipe = replace(
        RECIPE, mention_replacement=0.5, token_replacement=0.3, segment_shuffle=0.3, text_share=0.5
    )
    texts = tokenise_texts([f"the gene {word}" for word in WORDS], TOKENISER)
    lexicons = tuple(build_lexicon(data) for data in CORPORA)
    material = Material(CORPORA, texts, lexicons)
    before = [one.pieces.ids.copy() for data in CORPORA for one in data.sentences]
    first = contents(draw_epoch(material, recipe, 1))
    assert contents(draw_epoch(material, recipe, 1)) == first
    assert contents(draw_epoch(material, recipe, 2)) != first
    assert contents(draw_epoch(material, replace(recipe, seed=4), 1)) != first
    after = [one.pieces.ids for data in CORPORA for one in data.sentences]
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))
    singles = replace(recipe, max_sentences=1)
    known = {one.pieces.ids.tobytes() for data in CORPORA for one in data.sentences}
    seen = {
        w.pieces.ids.tobytes()
        for batch in draw_epoch(material, singles, 0)
        for w in batch
        if w.head != NO_HEAD
    }
    assert seen - known, "some sentences were augmented"
    assert seen & known, "and some were not"
