"""A whole run: resumed to the bit with all that keeps state, ended early, refused elsewhere."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from schemas.errors import DivergenceError, TrainingError
from schemas.tasks import TASKS
from tests.support.checkpoints import tiny_checkpoint
from tests.support.corpora import write_corpus, write_encoder
from training.finetune.export import fp16_weights
from training.finetune.run import (
    TrainedModel,
    TrainingRun,
    load_training_corpora,
    mean_score,
    run_training,
)
from training.recipes.recipe import Recipe
from training.reports.progress import LoopProgress

pytestmark = pytest.mark.usefixtures("one_thread")

CPU = torch.device("cpu")
PLAIN = Recipe(
    "plain",
    epochs=3,
    learning_rate=3e-3,
    batch_windows=4,
    max_sentences=3,
    max_pieces=128,
    letter_case=True,
)
FULL = replace(
    PLAIN,
    name="full",
    ema=0.9,
    fgm=0.3,
    uncertainty_weighting=True,
    distil_weight=0.5,
    pseudo_weight=0.5,
    pseudo_threshold=0.4,
    text_share=0.5,
    mention_replacement=0.3,
    sampling_exponent=0.5,
    sampling_exponent_end=1.0,
)
TEXTS = tuple(f"the cancer of protein {word}" for word in ("cell", "gene", "disease", "human"))


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an encoder, two small corpora, and two teachers."""
    folder = tmp_path_factory.mktemp("ground")
    write_encoder(folder / "encoder")
    write_corpus(folder / "corpora" / "NCBI-disease-IOBES", "Disease", "cancer")
    write_corpus(folder / "corpora" / "BC2GM-IOBES", "GENE", "protein")
    tiny_checkpoint(folder / "mtl", tasks=("ncbi-disease", "bc2gm"), seed=1)
    tiny_checkpoint(folder / "stl", tasks=("bc2gm",), seed=2)
    return folder


def make_run(ground: Path, state: Path, recipe: Recipe = PLAIN) -> TrainingRun:
    """A run of `recipe`, with teachers and texts where it learns from them."""
    taught = recipe.learns_from_teachers
    return TrainingRun(
        recipe,
        load_training_corpora(ground / "corpora", ("ncbi-disease", "bc2gm")),
        str(ground / "encoder"),
        state,
        CPU,
        bf16=False,
        save_seconds=1e9,
        teachers=(str(ground / "mtl"), str(ground / "stl")) if taught else (),
        texts=TEXTS if taught else (),
    )


def finish(
    run: TrainingRun, on_epoch: Callable[[int, dict[str, float]], bool] = lambda *_: True
) -> TrainedModel:
    trained = run_training(run, on_epoch=on_epoch)
    assert trained is not None
    return trained


class Stop:
    """Asks a run to stop behind so many of its steps, and notes the steps it made."""

    def __init__(self, steps: int) -> None:
        self.made: list[int] = []
        self._steps = steps

    def hear(self, progress: LoopProgress) -> None:
        self.made.append(progress.step)

    def __call__(self) -> bool:
        return len(self.made) == self._steps


@pytest.mark.parametrize("recipe", [PLAIN, FULL], ids=lambda recipe: recipe.name)
def test_a_resumed_run_equals_the_uninterrupted_one_to_the_bit(
    ground: Path, tmp_path: Path, recipe: Recipe
) -> None:
    whole = finish(make_run(ground, tmp_path / "whole", recipe))
    parted = make_run(ground, tmp_path / "parts", recipe)
    begun = 1
    for steps in (1, 8, 5):
        stop = Stop(steps)
        assert run_training(parted, on_progress=stop.hear, should_stop=stop) is None
        assert stop.made == list(range(begun, begun + steps))
        begun += steps
    resumed = finish(parted)
    assert resumed.scores == whole.scores
    assert resumed.epoch == whole.epoch
    assert set(resumed.weights) == set(whole.weights)
    for name, tensor in resumed.weights.items():
        assert torch.equal(tensor, whole.weights[name]), name


def test_what_comes_of_a_run_is_the_model_of_its_best_epoch(ground: Path, tmp_path: Path) -> None:
    heard: list[tuple[int, dict[str, float]]] = []

    def hear(epoch: int, scores: dict[str, float]) -> bool:
        heard.append((epoch, scores))
        return True

    trained = finish(make_run(ground, tmp_path, replace(PLAIN, epochs=6)), hear)
    assert [scores for _, scores in heard] == trained.scores
    assert [epoch for epoch, _ in heard] == list(range(6))
    means = [mean_score(scores) for scores in trained.scores]
    assert means[trained.epoch] == max(means)
    assert trained.tasks == (TASKS["ncbi-disease"], TASKS["bc2gm"])
    assert not trained.model.training
    for name, tensor in fp16_weights(trained.model).items():
        assert torch.equal(tensor, trained.weights[name]), name


def test_each_thing_that_shapes_a_run_shapes_its_result(ground: Path, tmp_path: Path) -> None:
    short = replace(PLAIN, epochs=1)
    changes: list[dict[str, Any]] = [
        {},
        {"ema": 0.9},
        {"fgm": 0.5},
        {"layer_decay": 0.5},
        {"uncertainty_weighting": True},
        {"distil_weight": 0.5},
        {"pseudo_weight": 0.5},
        {"token_replacement": 1.0},
    ]
    found = []
    for number, change in enumerate(changes):
        run = make_run(ground, tmp_path / str(number), replace(short, **change))
        run = replace(run, texts=() if not run.recipe.pseudo_weight else run.texts)
        found.append(finish(run).weights["heads.weight"])
    for number, weights in enumerate(found):
        assert not any(torch.equal(weights, other) for other in found[:number]), changes[number]


def test_a_run_ends_early_where_the_listener_says_so(ground: Path, tmp_path: Path) -> None:
    trained = finish(make_run(ground, tmp_path), lambda epoch, _: epoch < 1)
    assert len(trained.scores) == 2
    assert trained.epoch in (0, 1)


@pytest.mark.parametrize("score_from", [2, 99])
def test_epochs_before_the_first_that_is_scored_are_never_the_best(
    ground: Path, tmp_path: Path, score_from: int
) -> None:
    heard: list[int] = []

    def hear(epoch: int, _: dict[str, float]) -> bool:
        heard.append(epoch)
        return True

    trained = finish(replace(make_run(ground, tmp_path), score_from=score_from), hear)
    assert heard == [2]
    assert trained.scores[:2] == [{}, {}]
    assert set(trained.scores[2]) == {"ncbi-disease", "bc2gm"}
    assert trained.epoch == 2
    assert mean_score({}) == -1.0


def test_a_state_is_refused_by_a_run_of_anything_else(ground: Path, tmp_path: Path) -> None:
    run = make_run(ground, tmp_path, FULL)
    assert run_training(run, should_stop=lambda: True) is None
    first, second = run.corpora
    others = {
        "recipe": replace(run, recipe=replace(FULL, seed=99)),
        "bf16": replace(run, bf16=True),
        "teachers": replace(run, teachers=run.teachers[:1]),
        "texts": replace(run, texts=run.texts[1:]),
        "corpora": replace(
            run,
            corpora=[replace(first, entry=first.entry.model_copy(update={"sha256": ""})), second],
        ),
    }
    for what, other in others.items():
        with pytest.raises(TrainingError, match=rf"another run \(differing: {what}\)"):
            run_training(other)
    assert run_training(run, should_stop=lambda: True) is None


def test_teachers_and_a_weight_of_theirs_go_together(ground: Path, tmp_path: Path) -> None:
    taught = make_run(ground, tmp_path, FULL)
    with pytest.raises(TrainingError, match=r"0 teachers are named; teachers \(--teacher\) and"):
        run_training(replace(taught, teachers=()))
    with pytest.raises(TrainingError, match="distil_weight 0 and pseudo_weight 0, and 2 teachers"):
        run_training(replace(taught, recipe=PLAIN))
    with pytest.raises(TrainingError, match="its pseudo_weight is 0"):
        run_training(replace(taught, recipe=replace(FULL, pseudo_weight=0.0)))


def test_a_run_that_diverges_says_so_as_an_error_of_its_own(ground: Path, tmp_path: Path) -> None:
    # Weight decay times the learning rate multiplies the weights by -999 a step.
    wild = replace(PLAIN, epochs=20, learning_rate=0.999, weight_decay=1000.0)
    with pytest.raises(DivergenceError, match="the run diverged; lower the learning rate"):
        run_training(replace(make_run(ground, tmp_path, wild), score_from=19))
