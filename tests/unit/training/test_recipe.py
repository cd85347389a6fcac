"""Recipes and what they refuse."""

import pytest

from schemas.errors import SettingsError
from training.recipe import RECIPES, Recipe, find_recipe


def test_the_reference_recipe_is_the_published_one() -> None:
    recipe = RECIPES["reference"]
    assert (recipe.epochs, recipe.learning_rate, recipe.batch_windows) == (3, 5e-5, 8)
    assert (recipe.weight_decay, recipe.dropout, recipe.attention_dropout) == (0.01, 0.1, 0.1)
    assert recipe.batch_pieces == 0
    assert recipe.max_sentences == 1
    assert not recipe.letter_case


def test_changes_that_are_none_change_nothing() -> None:
    assert find_recipe("reference", epochs=None, seed=7) == Recipe(
        "reference", max_sentences=1, seed=7
    )


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"epochs": 0}, "epochs is 0, expected 1 or more"),
        ({"learning_rate": 2.0}, "learning_rate is 2.0, expected between 0 and 1"),
        ({"batch_pieces": 100}, r"batch_pieces is 100, expected 0, or at least max_pieces \(512\)"),
        ({"min_sentences": 3}, r"min_sentences is 3, expected from 1 to max_sentences \(1\)"),
        ({"sampling_exponent": 1.5}, "sampling_exponent is 1.5"),
        ({"dropout": 1.0}, "dropout is 1.0"),
    ],
)
def test_a_number_out_of_range_is_refused(change: dict[str, float], says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        find_recipe("reference", **change)


def test_an_unknown_recipe_is_refused_with_the_known_ones() -> None:
    with pytest.raises(SettingsError, match="no recipe 'best': expected one of reference, compact"):
        find_recipe("best")
