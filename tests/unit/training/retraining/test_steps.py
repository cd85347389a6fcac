"""What a round takes from the active checkpoint where its options leave it open."""

from pathlib import Path
from typing import Any

import pytest

from schemas.errors import SettingsError
from schemas.manifest import CheckpointManifest, CorpusEntry
from tests.support.checkpoints import sign_again, tiny_checkpoint
from tests.support.registries import small_checkpoint
from training.encoders.names import MINILM
from training.recipes.recipe import RECIPES, Recipe
from training.retraining.steps import resolve_plan
from training.settings.retrain import RetrainSettings
from worker.checkpoint.folder import read_manifest


def settings(**options: Any) -> RetrainSettings:
    return RetrainSettings(registry="r", output=Path("o"), **options)


@pytest.fixture
def active(tmp_path: Path) -> CheckpointManifest:
    folder = tiny_checkpoint(tmp_path / "active")
    corpora = tuple(
        CorpusEntry(name=name, split="train", sha256="0", sentences=1, mentions=1)
        for name in ("ncbi-disease", "bc2gm")
    )
    recipe = Recipe("taught", epochs=2, distil_weight=0.5, max_pieces=128, letter_case=True)
    sign_again(folder, corpora=corpora, recipe=recipe.values())
    return read_manifest(folder)


def test_everything_is_as_the_active_checkpoint_has_it(active: CheckpointManifest) -> None:
    plan, recipe = resolve_plan(settings(), active)
    assert (plan.active, plan.corpora) == (active.id, ("ncbi-disease", "bc2gm"))
    assert (plan.encoder, plan.teachers) == ("active", ("active",))
    assert recipe == Recipe("taught", epochs=2, distil_weight=0.5, max_pieces=128, letter_case=True)


def test_options_win(active: CheckpointManifest) -> None:
    plan, recipe = resolve_plan(
        settings(
            corpus=("bc2gm", "ncbi-disease", "jnlpba"),
            recipe="short",
            set=("epochs=9",),
            seed=4,
            encoder="minilm",
            teacher=("a", "b"),
        ),
        active,
    )
    assert plan.corpora == ("bc2gm", "ncbi-disease", "jnlpba")
    assert (plan.encoder, plan.teachers) == ("minilm", ("a", "b"))
    assert (recipe.name, recipe.epochs, recipe.seed) == ("short", 9, 4)


def test_a_recipe_that_learns_from_nobody_has_no_teacher(active: CheckpointManifest) -> None:
    plan, _ = resolve_plan(settings(recipe="compact"), active)
    assert plan.teachers == ()


def test_without_an_active_checkpoint_training_has_its_own_defaults() -> None:
    plan, recipe = resolve_plan(settings(corpus=("bc2gm",)), None)
    assert (plan.active, plan.encoder, plan.teachers) == (None, MINILM, ())
    assert recipe == RECIPES["compact"]


def test_a_dictionary_is_no_encoder_to_go_on_from(tmp_path: Path) -> None:
    manifest = read_manifest(small_checkpoint(tmp_path / "words"))
    with pytest.raises(SettingsError, match="name --recipe and --encoder"):
        resolve_plan(settings(corpus=("ncbi-disease",)), manifest)
    plan, _ = resolve_plan(
        settings(corpus=("ncbi-disease",), recipe="compact", encoder="minilm"), manifest
    )
    assert plan.encoder == "minilm"


def test_a_manifest_without_corpora_wants_them_named(tmp_path: Path) -> None:
    manifest = read_manifest(tiny_checkpoint(tmp_path / "active"))
    with pytest.raises(SettingsError, match="names no corpus"):
        resolve_plan(settings(), manifest)
