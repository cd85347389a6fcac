"""Recipes and what they refuse."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from experiments.cells import PLAIN
from schemas.errors import SettingsError
from training.recipes.recipe import RECIPES, Recipe, changes_of, find_recipe


def test_the_reference_recipe_is_the_published_one() -> None:
    recipe = RECIPES["reference"]
    assert (recipe.epochs, recipe.learning_rate, recipe.batch_windows) == (3, 5e-5, 8)
    assert (recipe.weight_decay, recipe.dropout, recipe.attention_dropout) == (0.01, 0.1, 0.1)
    assert recipe.batch_pieces == 0
    assert recipe.max_sentences == 1
    assert not recipe.letter_case


SMALL_ENCODER: dict[str, Any] = {
    "head_rate_factor": 3.0, "attention_dropout": 0.0, "letter_case": True, "single_share": 0.3
}  # fmt: skip
SHORT_TEACHER: dict[str, Any] = SMALL_ENCODER | {
    "learning_rate": 3e-4, "batch_pieces": 2048, "sampling_exponent": 0.5, "ema": 0.998
}  # fmt: skip


@pytest.mark.parametrize(
    ("recipe", "values"),
    [
        (RECIPES["reference"], {"max_sentences": 1}),
        (RECIPES["compact"], SMALL_ENCODER | {"learning_rate": 3e-4, "batch_pieces": 2048}),
        (PLAIN, SMALL_ENCODER | {"epochs": 6, "learning_rate": 4e-4, "batch_pieces": 4096}),
        (RECIPES["short-teacher"], SHORT_TEACHER),
        (
            RECIPES["short"],
            SHORT_TEACHER
            | {"epochs": 4, "distil_weight": 0.5, "pseudo_weight": 1.0, "text_share": 0.2},
        ),
        (
            RECIPES["shipped-teacher"],
            SHORT_TEACHER | {"epochs": 8, "learning_rate": 4e-4, "batch_pieces": 4096},
        ),
        (
            RECIPES["shipped"],
            {
                "epochs": 1, "learning_rate": 2e-4, "batch_pieces": 2048, "attention_dropout": 0.0,
                "letter_case": True, "single_share": 0.4, "sampling_exponent": 0.5, "fgm": 0.5,
                "layer_decay": 0.9, "ema": 0.99, "distil_weight": 0.5, "pseudo_weight": 1.0,
                "seed": 14,
            },
        ),
    ],
    ids=lambda value: value.name if isinstance(value, Recipe) else "",
)  # fmt: skip
def test_a_named_recipe_is_these_numbers_and_else_the_defaults(
    recipe: Recipe, values: dict[str, Any]
) -> None:
    assert recipe == Recipe(recipe.name, **values)


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


def test_a_recipe_is_read_from_a_file_alone_or_from_a_manifest_and_changed(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_text(json.dumps({"epochs": 7, "ema": 0.5, "sampling_exponent_end": None}))
    assert find_recipe(str(path)) == Recipe("mine", epochs=7, ema=0.5)
    assert find_recipe(str(path), epochs=2, seed=None) == Recipe("mine", epochs=2, ema=0.5)
    whole = Recipe("whole", uncertainty_weighting=True, sampling_exponent_end=1.0, fgm=1)
    path.write_text(json.dumps({"id": "0" * 16, "recipe": whole.values(), "metrics": {}}))
    assert find_recipe(str(path)) == whole


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("{", "cannot be read"),
        ("[1]", "is no JSON object of a recipe's values"),
        ('{"epoch": 3}', "a recipe has no 'epoch'; did you mean epochs?"),
        ('{"recipe": {"rdrop": 0.5}}', "a recipe has no 'rdrop'"),
        ('{"epochs": 2.5}', "epochs is 2.5, expected int"),
        ('{"epochs": true}', "epochs is true, expected int"),
        ('{"letter_case": 1}', "letter_case is 1, expected bool"),
        ('{"learning_rate": "0.1"}', 'learning_rate is "0.1", expected float'),
        ('{"learning_rate": true}', "learning_rate is true, expected float"),
        ('{"ema": null}', "ema is null, expected float"),
        ('{"name": 3}', "name is 3, expected str"),
        ('{"sampling_exponent_end": "x"}', 'sampling_exponent_end is "x", expected float | None'),
        ('{"ema": 1.0}', "recipe 'mine': ema is 1.0, expected from 0 up to 1"),
        ('{"epochs": NaN}', "epochs is NaN, expected int"),
    ],
)
def test_a_file_that_is_no_recipe_is_one_clear_line(
    tmp_path: Path, content: str, says: str
) -> None:
    path = tmp_path / "mine.json"
    path.write_text(content)
    with pytest.raises(SettingsError) as error:
        find_recipe(str(path))
    assert says in str(error.value)
    assert len(str(error.value).splitlines()) == 1


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"none.json' cannot be read"):
        find_recipe(str(tmp_path / "none.json"))


def test_changes_are_told_by_name_and_value() -> None:
    words = ["dropout=0.2", "layer-decay = 0.9", "uncertainty_weighting=true"]
    assert changes_of([*words, "sampling-exponent-end=null", "epochs=4"]) == {
        "dropout": 0.2,
        "layer_decay": 0.9,
        "uncertainty_weighting": True,
        "sampling_exponent_end": None,
        "epochs": 4,
    }


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("dropout", "--set 'dropout': expected NAME=VALUE"),
        ("dropout=much", "--set 'dropout=much': expected a number, true, false or null"),
        ("drop=0.1", "--set: a recipe has no 'drop'"),
        ("epochs=1.5", "--set: epochs is 1.5, expected int"),
        ("fgm=true", "--set: fgm is true, expected float"),
        ("fgm=null", "--set: fgm is null, expected float"),
        ("letter_case=0", "--set: letter_case is 0, expected bool"),
        ("fgm=[1]", "--set: fgm is [1], expected float"),
    ],
)
def test_a_change_that_is_none_is_refused(word: str, says: str) -> None:
    with pytest.raises(SettingsError) as error:
        changes_of([word])
    assert str(error.value).startswith(says)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"fgm": -0.1}, "fgm is -0.1, expected 0 or more"),
        ({"layer_decay": 0.0}, "layer_decay is 0.0, expected more than 0, 1 at most"),
        ({"ema": 1.0}, "ema is 1.0, expected from 0 up to 1"),
        ({"sampling_exponent_end": 1.1}, "sampling_exponent_end is 1.1"),
        ({"distil_weight": 1.1}, "distil_weight is 1.1, expected from 0 to 1"),
        ({"pseudo_weight": -1.0}, "pseudo_weight is -1.0, expected 0 or more"),
        ({"pseudo_threshold": 2.0}, "pseudo_threshold is 2.0"),
        ({"text_share": 1.5}, "text_share is 1.5"),
        ({"mention_replacement": -0.5}, "mention_replacement is -0.5"),
        ({"ema": float("nan")}, "ema is nan"),
        ({"fgm": float("nan")}, "fgm is nan"),
    ],
)
def test_what_regularises_or_teaches_has_its_range(change: dict[str, float], says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        find_recipe("compact", **change)


def test_the_plain_recipes_do_nothing_of_what_is_optional() -> None:
    for recipe in (RECIPES["reference"], RECIPES["compact"]):
        assert not recipe.learns_from_teachers
        assert not recipe.augments
    assert replace(RECIPES["compact"], segment_shuffle=0.1).augments
    assert replace(RECIPES["compact"], pseudo_weight=0.1).learns_from_teachers
    assert replace(RECIPES["compact"], distil_weight=0.1).learns_from_teachers
