"""Augmented sentences are legal, of the same mentions, and made of training material alone."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.tags import iobes_tags, may_follow
from schemas.tasks import TASKS
from tests.support.augmenting import (
    ALL,
    LABELS,
    MENTIONS,
    NONE,
    SHUFFLE,
    TOKENS,
    PreToken,
    head_data,
    pre_tokens,
    read,
    texts,
)
from training.corpora.catalogue import Split
from training.corpora.corpus import open_corpus
from training.data.augmentation import Lexicon, augment, augment_sentences, build_lexicon
from training.data.examples import IGNORED, HeadData, LabelledSentence, label_sentences
from training.encoders.names import MINILM, encoder_folder
from training.recipes.recipe import Recipe
from worker.text.tokenisation import load_tokeniser

words = st.sampled_from(
    ["the", "IL-2", "Cancer", "p53", "of", "gene", "α-keto", "(", "NaCl", "x", "mosing", "中文"]
)
segment = st.tuples(
    st.sampled_from(["O", *LABELS]), st.lists(words, min_size=1, max_size=5).map(" ".join)
)
corpora = st.lists(st.lists(segment, max_size=7), min_size=1, max_size=8).map(
    lambda sentences: head_data(*sentences, starts=frozenset(range(0, 8, 3)))
)
chances = st.sampled_from([0.0, 0.5, 1.0])
recipes = st.builds(
    lambda mentions, tokens, shuffle: replace(
        NONE, mention_replacement=mentions, token_replacement=tokens, segment_shuffle=shuffle
    ),
    chances,
    chances,
    chances,
)
seeds = st.integers(0, 2**32)


def bags(sentence: LabelledSentence) -> list[tuple[str, Counter[str]]]:
    return [(label, Counter(text.split())) for label, text in read(sentence.pieces)]


@settings(max_examples=200, deadline=None)
@given(data=corpora, recipe=recipes, seed=seeds)
def test_what_is_made_is_legal_and_keeps_what_it_must(
    data: HeadData, recipe: Recipe, seed: int
) -> None:
    before = [pre_tokens(sentence.pieces) for sentence in data.sentences]
    known = {token for tokens in before for token in tokens}
    lexicon = build_lexicon(data)
    made = augment_sentences(data.sentences, lexicon, recipe, np.random.default_rng(seed))
    assert [pre_tokens(sentence.pieces) for sentence in data.sentences] == before, "not written to"
    assert len(made) == len(data.sentences)
    mentions = {part for sentence in texts(data.sentences) for part in sentence if part[0] != "O"}
    for old, new in zip(data.sentences, made, strict=True):
        assert new.starts_document == old.starts_document
        old_parts, new_parts = read(old.pieces), read(new.pieces)
        assert [label for label, _ in new_parts] == [label for label, _ in old_parts]
        outside = [len(text.split()) for label, text in old_parts if label == "O"]
        assert [len(text.split()) for label, text in new_parts if label == "O"] == outside
        pieces = new.pieces
        assert pieces.ids.dtype == np.int32
        assert pieces.case.dtype == np.uint8
        assert pieces.tags.dtype == np.int64
        assert len(pieces.ids) == len(pieces.case) == len(pieces.tags)
        made_tokens = pre_tokens(pieces)
        forms = {(ids, case) for ids, case, _ in known}
        assert {(ids, case) for ids, case, _ in made_tokens} <= forms
        if not recipe.segment_shuffle:
            assert set(made_tokens) <= known, "of its tag"
        if not recipe.mention_replacement:
            assert [tag for _, _, tag in made_tokens] == [t for _, _, t in pre_tokens(old.pieces)]
            if not recipe.token_replacement:
                assert bags(new) == bags(old)
        elif not recipe.token_replacement and not recipe.segment_shuffle:
            assert {part for part in new_parts if part[0] != "O"} <= mentions
            assert [p for p in new_parts if p[0] == "O"] == [p for p in old_parts if p[0] == "O"]


@settings(max_examples=60, deadline=None)
@given(data=corpora, recipe=recipes, seed=seeds)
def test_the_same_generator_makes_the_same(data: HeadData, recipe: Recipe, seed: int) -> None:
    def made(lexicon: Lexicon) -> list[list[PreToken]]:
        out = augment_sentences(data.sentences, lexicon, recipe, np.random.default_rng(seed))
        return [pre_tokens(sentence.pieces) for sentence in out]

    assert made(build_lexicon(data)) == made(build_lexicon(data))
    alone = data.sentences[0].pieces
    one = augment(alone, build_lexicon(data), recipe, np.random.default_rng(seed))
    (listed,) = augment_sentences(
        data.sentences[:1], build_lexicon(data), recipe, np.random.default_rng(seed)
    )
    assert pre_tokens(one) == pre_tokens(listed.pieces)


def test_different_generators_differ() -> None:
    data = head_data(*[[("O", "a b c d e f"), ("Disease", f"x{n} y")] for n in range(20)])
    lexicon = build_lexicon(data)
    first, second = (
        texts(augment_sentences(data.sentences, lexicon, ALL, np.random.default_rng([13, epoch])))
        for epoch in (0, 1)
    )
    assert first != second


@pytest.mark.parametrize("name", ["ncbi-disease", "jnlpba"])
def test_every_augmented_sentence_of_a_real_corpus_is_legal(name: str, data: Path) -> None:
    folder = encoder_folder(MINILM)
    assert folder is not None
    tokeniser = load_tokeniser(folder / "tokenizer.json")
    task = TASKS[name]
    sentences = open_corpus(data / "corpora", name).sentences(Split.TRAIN)
    head = label_sentences(task, sentences, tokeniser)
    lexicon = build_lexicon(head)
    names = iobes_tags(task.label_names)
    follows = np.array([[may_follow(before, after) for after in names] for before in names])
    labels = (np.arange(len(names)) - 1) // 4
    begins = np.array([tag[0] in "BS" for tag in names])
    known = {form for sentence in head.sentences for form in pre_tokens(sentence.pieces)}

    def gold(sentences: Sequence[LabelledSentence]) -> npt.NDArray[np.int64]:
        """Return the tags of all sentences, each between `IGNORED` marks."""
        end = np.array([IGNORED])
        parts = [sentence.pieces.tags[sentence.pieces.tags != IGNORED] for sentence in sentences]
        return np.concatenate([end, *(array for part in parts for array in (part, end))])

    def mentions(tags: npt.NDArray[np.int64]) -> list[int]:
        """Return the label of each mention, and the marks between sentences."""
        kept = tags[(tags == IGNORED) | begins[np.maximum(tags, 0)]]
        found: list[int] = np.where(kept == IGNORED, IGNORED, labels[kept.clip(0)]).tolist()
        return found

    before = gold(head.sentences)
    for recipe in (MENTIONS, TOKENS, SHUFFLE, ALL):
        made = augment_sentences(head.sentences, lexicon, recipe, np.random.default_rng([13, 0]))
        touched = [new for new, old in zip(made, head.sentences, strict=True) if new is not old]
        assert len(touched) > 1000
        assert all(sentence.pieces.tags[0] != IGNORED for sentence in touched)
        after = gold(made)
        padded = np.maximum(after, 0)
        assert follows[padded[:-1], padded[1:]].all(), "legal, as if O stood around each sentence"
        assert mentions(after) == mentions(before)
        assert np.count_nonzero(after == 0) == np.count_nonzero(before == 0)
        if not recipe.segment_shuffle:
            assert known.issuperset(f for new in touched[::20] for f in pre_tokens(new.pieces))
