"""The search space: what it offers, how it is narrowed, and that every draw makes a recipe."""

from typing import Any

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.errors import SettingsError
from training.recipes.recipe import RECIPES, Recipe
from training.tuning.space import (
    SPACE,
    apply_values,
    choose_space,
    distributions,
    show_values,
    starting_values,
)

COMPACT = RECIPES["compact"]


def names(space: tuple[Any, ...]) -> list[str]:
    return [dimension.name for dimension in space]


def test_all_is_offered_but_what_shapes_nothing_or_is_fixed() -> None:
    everything = [
        "learning_rate", "head_rate_factor", "batch_pieces", "sampling_exponent", "dropout",
        "epochs",
    ]  # fmt: skip
    assert names(choose_space((), COMPACT, corpora=2)) == everything
    one = choose_space((), COMPACT, corpora=1, fixed=("epochs",))
    assert names(one) == [*everything[:3], "dropout"]


def test_words_choose_and_narrow_in_the_order_of_the_table() -> None:
    space = choose_space(("epochs=1:2", "dropout", "learning-rate=1e-4:2e-3"), COMPACT, corpora=1)
    assert names(space) == ["learning_rate", "dropout", "epochs"]
    assert [(d.low, d.high) for d in space] == [(1e-4, 2e-3), (0.0, 0.3), (1, 2)]
    assert space[0].log
    assert isinstance(space[2].low, int)
    assert [d for d in SPACE if d.name == "dropout"] == [space[1]], "the table stays as it was"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("momentum",), "--tune 'momentum': expected one of learning-rate, head-rate-factor,"),
        (("",), "expected one of learning-rate"),
        (("dropout", "dropout=0:0.2"), "dropout is named twice"),
        (("epochs",), "--epochs gives it one value already"),
        (("sampling-exponent",), "has no effect with one corpus"),
        (("dropout=0.1",), "expected two numbers, such as dropout=0:0.3"),
        (("batch-pieces=1e3:2e3",), "expected two whole numbers"),
        (("dropout=0.2:0.1",), "a lower bound below the upper one"),
        (("dropout=0.1:0.1",), "a lower bound below the upper one"),
        (("dropout=nan:0.1",), "a lower bound below the upper one"),
        (("learning-rate=0:1e-3",), "expected bounds above 0"),
        (("dropout=0:1.5",), "--tune dropout=0:1.5: recipe 'compact': dropout is 1.5"),
        (("batch-pieces=100:2000",), "batch_pieces is 100, expected 0, or at least max_pieces"),
    ],
)
def test_a_wrong_word_is_refused_with_what_was_expected(words: tuple[str, ...], says: str) -> None:
    with pytest.raises(SettingsError, match="--tune") as refused:
        choose_space(words, COMPACT, corpora=1, fixed=("epochs",))
    assert says in str(refused.value)


@settings(max_examples=60, deadline=None)
@given(
    recipe=st.sampled_from(sorted(RECIPES)),
    corpora=st.integers(1, 4),
    seed=st.integers(0, 10_000),
)
def test_every_draw_lies_in_the_space_and_makes_a_recipe(
    recipe: str, corpora: int, seed: int
) -> None:
    base = RECIPES[recipe]
    space = choose_space((), base, corpora=corpora)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    values = study.ask(distributions(space)).params
    drawn = apply_values(base, values)
    for dimension in space:
        assert dimension.low <= getattr(drawn, dimension.name) <= dimension.high
    changed = {key for key, value in drawn.values().items() if value != base.values()[key]}
    assert changed <= {dimension.name for dimension in space}
    assert Recipe(**drawn.values()) == drawn


def test_a_search_starts_from_what_the_recipe_has_within_the_space() -> None:
    space = choose_space((), RECIPES["reference"], corpora=2)
    start = starting_values(space, RECIPES["reference"])
    assert "batch_pieces" not in start, "the reference recipe counts windows"
    assert start == {
        "learning_rate": 5e-5, "head_rate_factor": 1.0, "sampling_exponent": 1.0, "dropout": 0.1,
        "epochs": 3,
    }  # fmt: skip


def test_values_are_shown_to_three_digits() -> None:
    shown = show_values({"learning_rate": 0.00031234, "epochs": 12345})
    assert shown == "learning-rate 0.000312, epochs 12345"
