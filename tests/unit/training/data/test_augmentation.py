"""Augmented sentences: what each way of augmenting changes, and how often."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from tests.support.augmenting import (
    ALL,
    MENTIONS,
    SHUFFLE,
    TAGS,
    TOKENS,
    Segment,
    head_data,
    many,
    read,
)
from training.data.augmentation import (
    MENTION_FRACTION,
    SEGMENT_FRACTION,
    TOKEN_FRACTION,
    augment,
    augment_sentences,
    build_lexicon,
)
from training.data.examples import IGNORED
from training.recipes.recipe import Recipe


def test_a_mention_is_replaced_whole_by_one_of_its_label() -> None:
    data = head_data(
        [("O", "patients with"), ("Disease", "lung cancer"), ("O", "and"), ("Chemical", "aspirin")],
        [("Disease", "sarcoma"), ("O", "was found")],
        [("Chemical", "ferric carboxymaltose"), ("O", "in blood")],
    )
    made = many(data, MENTIONS, 60)
    assert {tuple(dict(sentence)) for sentence in made} == {("O", "Disease", "Chemical")}
    assert {sentence[1] for sentence in made} == {
        ("Disease", "lung cancer"),
        ("Disease", "sarcoma"),
    }
    assert {sentence[3] for sentence in made} == {
        ("Chemical", "aspirin"),
        ("Chemical", "ferric carboxymaltose"),
    }
    for sentence in made:
        assert (sentence[0], sentence[2]) == (("O", "patients with"), ("O", "and"))


def test_a_replaced_mention_brings_its_pieces_case_and_tags() -> None:
    data = head_data(
        [("O", "in"), ("Disease", "gout"), ("O", "cell")], [("Disease", "Ewing SARCOMA IIb type")]
    )
    lexicon = build_lexicon(data)
    old, other = (sentence.pieces for sentence in data.sentences)
    assert (other.tags == IGNORED).sum() >= 4, "mentions of several pieces a pre-token"
    made = [augment(old, lexicon, MENTIONS, np.random.default_rng(seed)) for seed in range(20)]
    grown = next(pieces for pieces in made if len(pieces) > len(old))
    middle = slice(1, 1 + len(other))
    assert grown.ids[middle].tolist() == other.ids.tolist()
    assert grown.case[middle].tolist() == other.case.tolist()
    assert grown.tags[middle].tolist() == other.tags.tolist()
    assert [TAGS[tag] for tag in grown.tags if tag != IGNORED] == [
        "O",
        "B-Disease",
        "I-Disease",
        "I-Disease",
        "E-Disease",
        "O",
    ]
    assert [grown.ids[0], grown.ids[-1]] == [old.ids[0], old.ids[-1]]


def test_adjacent_mentions_stay_apart() -> None:
    data = head_data(
        [
            ("Disease", "lung cancer"),
            ("Disease", "renal failure"),
            ("Chemical", "aspirin"),
            ("Chemical", "zinc"),
        ],
        [("Disease", "gout"), ("Disease", "acute liver failure"), ("Chemical", "nitric oxide")],
    )
    for recipe in (MENTIONS, TOKENS, SHUFFLE, ALL):
        for sentence in many(data, recipe, 80):
            assert [label for label, _ in sentence] == [
                "Disease",
                "Disease",
                "Chemical",
                "Chemical",
            ]
    sizes = {
        tuple(len(text.split()) for _, text in sentence) for sentence in many(data, MENTIONS, 80)
    }
    assert {(2, 2, 1, 1), (1, 2, 1, 1), (2, 3, 1, 1), (2, 2, 2, 1), (2, 2, 1, 2)} <= sizes


def test_a_pretoken_is_replaced_by_one_of_its_tag() -> None:
    data = head_data(
        [("O", "the"), ("Disease", "lung cancer"), ("O", "of")],
        [("Disease", "renal failure"), ("Disease", "gout"), ("Chemical", "zinc")],
    )
    made = many(data, TOKENS, 200)
    assert {tuple(label for label, _ in sentence) for sentence in made} == {("O", "Disease", "O")}
    assert {sentence[1][1] for sentence in made} == {
        "lung cancer",
        "lung failure",
        "renal cancer",
        "renal failure",
    }
    assert {sentence[0][1] for sentence in made} == {"the", "of"}


def test_pretokens_change_places_within_their_segment_only() -> None:
    data = head_data(
        [
            ("O", "was in the"),
            ("Disease", "acute liver failure"),
            ("Disease", "gout"),
            ("O", "of"),
            ("Chemical", "nitric oxide"),
        ]
    )
    made = many(data, SHUFFLE, 200)
    assert {sentence[4][1] for sentence in made} == {"nitric oxide", "oxide nitric"}
    orders = Counter(sentence[0][1] for sentence in made)
    assert len(orders) == 6, "every order occurs"
    assert len({sentence[1][1] for sentence in made}) == 6
    for sentence in made:
        assert [label for label, _ in sentence] == ["O", "Disease", "Disease", "O", "Chemical"]
        assert sorted(sentence[0][1].split()) == ["in", "the", "was"]
        assert sorted(sentence[1][1].split()) == ["acute", "failure", "liver"]
        assert sentence[2:4] == [("Disease", "gout"), ("O", "of")]


def test_replacements_are_drawn_by_frequency_and_as_often_as_documented() -> None:
    frequent: list[list[Segment]] = [[("Disease", "gout"), ("O", "the")]] * 3
    target: list[list[Segment]] = [[("Chemical", "zinc"), ("Disease", "sarcoma"), ("O", "of")]]
    data = head_data(*target, *frequent, [("Disease", "sarcoma cell")])
    lexicon = build_lexicon(data)
    copies = [data.sentences[0]] * 4000

    def share(recipe: Recipe, place: int, value: str) -> float:
        made = augment_sentences(copies, lexicon, recipe, np.random.default_rng(5))
        return sum(read(s.pieces)[place][1] == value for s in made) / len(made)

    # 3 of 5 mentions are gout, 1 of 5 is what is there already; 3 of 4 outside pre-tokens are "the"
    assert share(MENTIONS, 1, "gout") == pytest.approx(MENTION_FRACTION * 0.6, abs=0.03)
    assert share(MENTIONS, 1, "sarcoma cell") == pytest.approx(MENTION_FRACTION * 0.2, abs=0.03)
    assert share(TOKENS, 2, "the") == pytest.approx(TOKEN_FRACTION * 0.75, abs=0.03)
    assert share(TOKENS, 1, "gout") == pytest.approx(TOKEN_FRACTION * 0.75, abs=0.03)
    half = replace(MENTIONS, mention_replacement=0.5)
    assert share(half, 1, "gout") == pytest.approx(MENTION_FRACTION * 0.3, abs=0.03)
    assert share(MENTIONS, 0, "zinc") == 1.0, "there is no other chemical"


def test_segments_are_shuffled_as_often_as_documented() -> None:
    data = head_data([("O", "a b c d e f g h")])
    made = augment_sentences(
        data.sentences * 2000, build_lexicon(data), SHUFFLE, np.random.default_rng(2)
    )
    touched = sum(sentence is not data.sentences[0] for sentence in made)
    assert touched / 2000 == pytest.approx(SEGMENT_FRACTION, abs=0.04)
