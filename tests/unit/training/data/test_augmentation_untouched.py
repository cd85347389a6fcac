"""What augmentation leaves as it is: no gold, nothing asked, soft labels, a window's limit."""

from collections import Counter
from dataclasses import replace

import numpy as np

from tests.support.augmenting import (
    ALL,
    MENTIONS,
    NONE,
    SHUFFLE,
    TAGS,
    TOKENS,
    head_data,
    pre_tokens,
)
from training.data.augmentation import augment, augment_sentences, build_lexicon
from training.data.examples import IGNORED, UNLABELLED, LabelledSentence, draw_windows


def test_with_no_probability_nothing_is_made_and_nothing_drawn() -> None:
    data = head_data([("O", "the"), ("Disease", "gout")])
    lexicon = build_lexicon(data)
    rng = np.random.default_rng(1)
    assert augment_sentences(data.sentences, lexicon, NONE, rng) is data.sentences
    assert augment(data.sentences[0].pieces, lexicon, NONE, rng) is data.sentences[0].pieces
    assert rng.random() == np.random.default_rng(1).random()


def test_sentences_not_touched_are_the_same_objects() -> None:
    data = head_data(*[[("O", "the cell of"), ("Disease", "gout")], []] * 50)
    rare = replace(ALL, mention_replacement=0.1, token_replacement=0.1, segment_shuffle=0.1)
    made = augment_sentences(data.sentences, build_lexicon(data), rare, np.random.default_rng(3))
    same = sum(new is old for new, old in zip(made, data.sentences, strict=True))
    assert 60 < same < 100
    outside = head_data([("O", "the cell")] * 2)
    kept = augment_sentences(
        outside.sentences, build_lexicon(outside), MENTIONS, np.random.default_rng(3)
    )
    assert all(new is old for new, old in zip(kept, outside.sentences, strict=True))


def test_an_empty_corpus_and_an_empty_sentence_stay_empty() -> None:
    empty = head_data([])
    lexicon = build_lexicon(empty)
    rng = np.random.default_rng(0)
    assert len(augment(empty.sentences[0].pieces, lexicon, ALL, rng)) == 0
    assert augment_sentences((), build_lexicon(head_data()), ALL, rng) == ()
    full = head_data([("O", "the"), ("Disease", "gout")])
    (kept,) = augment_sentences(full.sentences, lexicon, MENTIONS, rng)
    assert kept is full.sentences[0], "an empty lexicon has no replacement"


def test_what_has_no_gold_tag_is_left_alone() -> None:
    data = head_data([("O", "the cell of"), ("Disease", "acute liver oma"), ("O", "in the gene")])
    lexicon = build_lexicon(data)
    whole = data.sentences[0].pieces
    unlabelled = replace(whole, tags=np.where(whole.tags != IGNORED, UNLABELLED, IGNORED))
    cut_begin = replace(whole, tags=whole.tags.copy())
    begin = int(np.flatnonzero(whole.tags == TAGS.index("B-Disease"))[0])
    cut_begin.tags[: begin + 1] = IGNORED
    for seed in range(30):
        rng = np.random.default_rng(seed)
        assert augment(unlabelled, lexicon, ALL, rng) is unlabelled
        made = augment(cut_begin, lexicon, ALL, rng)
        assert made.ids[: begin + 1].tolist() == whole.ids[: begin + 1].tolist()
        assert (made.tags[: begin + 1] == IGNORED).all()
        names = [TAGS[tag] for tag in made.tags if tag != IGNORED]
        assert names == ["I-Disease", "E-Disease", "O", "O", "O"], "part of a mention stays"
        shuffled = augment(cut_begin, lexicon, SHUFFLE, np.random.default_rng(seed))
        assert pre_tokens(shuffled)[:2] == pre_tokens(cut_begin)[:2]


def test_soft_tags_stay_where_their_pretoken_stays() -> None:
    data = head_data(
        [("O", "the cell of"), ("Disease", "mosing oma"), ("O", "in a gene")],
        [("Disease", "gout"), ("O", "with")],
        [("Disease", "acute liver failure")],
    )
    lexicon = build_lexicon(data)
    old = data.sentences[0].pieces
    count = int((old.tags != IGNORED).sum())
    soft = np.arange(count * 3, dtype=np.float16).reshape(count, 3)
    taught = replace(old, soft=soft)
    seen = Counter[bool]()
    for recipe in (MENTIONS, TOKENS, SHUFFLE, ALL):
        for seed in range(40):
            # the second sentence has no soft labels, and gets none where the first has some
            made, other = augment_sentences(
                [LabelledSentence(taught, True), data.sentences[1]],
                lexicon,
                recipe,
                np.random.default_rng(seed),
            )
            if made.pieces is taught:
                continue
            new = made.pieces.soft
            assert new is not None
            assert new.shape == ((made.pieces.tags != IGNORED).sum(), 3)
            assert other.pieces.soft is None or np.isnan(other.pieces.soft).all()
            by_row = {
                tuple(row.tolist()): form for row, form in zip(soft, pre_tokens(old), strict=True)
            }
            for row, form in zip(new, pre_tokens(made.pieces), strict=True):
                there = not np.isnan(row).any()
                seen[there] += 1
                if there:
                    assert by_row[tuple(row.tolist())] == form, "the same pre-token, unmoved"
            if recipe is MENTIONS:
                outside = new[[tag == 0 for _, _, tag in pre_tokens(made.pieces)]]
                assert not np.isnan(outside).any(), "what is not replaced keeps its own"
            kept = [float(row[0]) for row in new if not np.isnan(row[0])]
            assert kept == sorted(kept), "in the order of the text"
    assert seen[True] > 100
    assert seen[False] > 100


def test_windows_of_augmented_sentences_keep_to_their_limit() -> None:
    long = " ".join(f"x{n}" for n in range(24))
    few = [("Disease", "a"), ("O", "b")] * 4
    data = head_data(*[[("Disease", long)], few] * 10)
    recipe = replace(MENTIONS, max_pieces=64)
    rng = np.random.default_rng(4)
    made = augment_sentences(data.sentences, build_lexicon(data), recipe, rng)
    assert max(len(sentence.pieces) for sentence in made) > 62
    windows = draw_windows(0, replace(data, sentences=tuple(made)), recipe, rng)
    assert max(window.length for window in windows) <= 64
