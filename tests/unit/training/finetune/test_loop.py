"""The training loop: it learns, it is seeded, and a resumed run equals the uninterrupted one."""

import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

from schemas.errors import CorpusError, TrainingError
from schemas.tasks import TASKS, Task
from training.corpora.tasks import corpus_task
from training.corpora.tsv import Sentence
from training.data.examples import label_sentences
from training.data.sampling import Material
from training.encoders.loading import load_encoder
from training.finetune.loop import LoopSettings, Trainer
from training.finetune.losses import Targets, head_loss
from training.finetune.optimisation import rate_factor
from training.finetune.scoring import DevelSet, score_devel
from training.recipes.recipe import Recipe, find_recipe
from training.reports.progress import LoopProgress
from worker.decoding.cpu import head_layout
from worker.network.model import MultiHeadModel
from worker.text.tokenisation import WordPieceTokeniser

pytestmark = pytest.mark.usefixtures("one_thread")

TASKS_USED = (TASKS["ncbi-disease"], TASKS["bc2gm"])
RECIPE = Recipe(
    "test",
    epochs=2,
    learning_rate=3e-3,
    batch_windows=4,
    max_sentences=3,
    max_pieces=128,
    letter_case=True,
)


def sentences(label: str, word: str) -> tuple[Sentence, ...]:
    """Return sentences in which `word` is always a mention and nothing else is."""
    fillers = ["the", "of", "in", "with", "was", "for", "human", "cell"]
    out = []
    for number in range(24):
        words = [fillers[number % 8], word, fillers[(number * 3 + 1) % 8]]
        out.append(Sentence(tuple(words), ("O", f"S-{label}", "O"), number * 4 + 1))
    return tuple(out)


CORPORA = (sentences("Disease", "cancer"), sentences("GENE", "protein"))


def start(
    folder: Path, encoder: Path, recipe: Recipe = RECIPE
) -> tuple[Trainer, MultiHeadModel, WordPieceTokeniser]:
    layout = head_layout(TASKS_USED)
    torch.manual_seed(recipe.seed)
    begun = load_encoder(str(encoder), recipe, TASKS_USED)
    data = tuple(
        label_sentences(task, corpus, begun.tokeniser)
        for task, corpus in zip(TASKS_USED, CORPORA, strict=True)
    )
    trainer = Trainer(
        begun.model,
        begun.tokeniser,
        layout,
        Material(data),
        recipe,
        LoopSettings(torch.device("cpu"), bf16=False, save_seconds=1e9),
        folder,
        {"recipe": recipe.values()},
    )
    return trainer, begun.model, begun.tokeniser


def silent(progress: LoopProgress) -> None:
    assert progress.step <= progress.steps


def no_scores(epoch: int, model: MultiHeadModel) -> dict[str, float]:
    assert not model.training
    torch.rand(3)  # whatever scoring draws must not change the run
    return {"epoch": float(epoch)}


def stop_after(trainer: Trainer, steps: int) -> Callable[[], bool]:
    """Ask `trainer` to stop so many steps after where it stands."""
    last = trainer.resumed_step + steps
    return lambda: trainer.resumed_step >= last


@pytest.mark.parametrize("stops", [(3,), (1, 5), (6, 1, 1)])
def test_a_resumed_run_equals_the_uninterrupted_one_to_the_bit(
    tmp_path: Path, encoder: Path, stops: tuple[int, ...]
) -> None:
    whole, model, _ = start(tmp_path / "whole", encoder)
    assert whole.run(silent, no_scores)
    for steps in stops:
        part, _, _ = start(tmp_path / "parts", encoder)
        part.resume()
        assert not part.run(silent, no_scores, stop_after(part, steps))
    last, resumed, _ = start(tmp_path / "parts", encoder)
    assert last.resume()
    assert last.resumed_step == sum(stops)
    assert last.run(silent, no_scores)
    assert last.scores == whole.scores == [{"epoch": 0.0}, {"epoch": 1.0}]
    expected = model.state_dict()
    for name, tensor in resumed.state_dict().items():
        assert torch.equal(tensor, expected[name]), name


def test_a_run_that_is_ended_behind_an_epoch_makes_no_more_steps(
    tmp_path: Path, encoder: Path
) -> None:
    trainer, _, _ = start(tmp_path, encoder)
    ended: list[int] = []

    def end(epoch: int, model: MultiHeadModel) -> dict[str, float]:
        ended.append(trainer.resumed_step)
        return no_scores(epoch, model)

    assert not trainer.run(silent, end, lambda: bool(ended))
    assert ended == [trainer.resumed_step]
    again, _, _ = start(tmp_path, encoder)
    assert again.resume()
    assert (again.resumed_step, again.scores) == (ended[0], [{"epoch": 0.0}])
    assert again.run(silent, end, lambda: len(ended) > 1), "behind the last epoch it is at its end"


def test_a_run_learns_what_its_heads_are_shown(tmp_path: Path, encoder: Path) -> None:
    recipe = Recipe(
        "learn", epochs=12, learning_rate=5e-3, max_sentences=2, max_pieces=128, batch_windows=4
    )
    trainer, model, tokeniser = start(tmp_path, encoder, recipe)
    losses: list[float] = []
    devel = [DevelSet(task, corpus) for task, corpus in zip(TASKS_USED, CORPORA, strict=True)]

    def score(epoch: int, model: MultiHeadModel) -> dict[str, float]:
        del epoch
        return score_devel(
            model,
            tokeniser,
            TASKS_USED,
            devel,
            letter_case=False,
            max_pieces=128,
            device=torch.device("cpu"),
        )

    assert trainer.run(lambda now: losses.append(now.loss), score)
    assert losses[-1] < losses[0] / 5
    assert trainer.scores[-1] == {"ncbi-disease": 1.0, "bc2gm": 1.0}
    assert next(model.parameters()).dtype == torch.float32, "scoring leaves the model as it was"


def test_the_reference_recipe_runs_on_its_own_architecture(tmp_path: Path, encoder: Path) -> None:
    recipe = find_recipe("reference", epochs=1)
    recipe = Recipe(**{**recipe.values(), "max_pieces": 128})
    trainer, model, _ = start(tmp_path, encoder, recipe)
    config: Any = model.encoder.config
    assert config.attention_probs_dropout_prob == config.hidden_dropout_prob == 0.1
    assert model.dropout.p == 0.1
    seen: list[LoopProgress] = []
    assert trainer.run(seen.append, no_scores)
    assert seen[-1].step == seen[-1].steps == 6, "48 sentences, eight a batch"


def test_the_state_of_another_run_is_refused(tmp_path: Path, encoder: Path) -> None:
    trainer, _, _ = start(tmp_path, encoder)
    assert not trainer.run(silent, no_scores, stop_after(trainer, 1))
    other, _, _ = start(tmp_path, encoder, Recipe(**{**RECIPE.values(), "seed": 99}))
    with pytest.raises(TrainingError, match="another run"):
        other.resume()


def test_a_state_that_cannot_be_read_is_told(tmp_path: Path, encoder: Path) -> None:
    trainer, _, _ = start(tmp_path, encoder)
    assert not trainer.run(silent, no_scores, stop_after(trainer, 1))
    (state,) = tmp_path.glob("state-*")
    (state / "tensors.safetensors").write_bytes(b"\0" * 20)
    again, _, _ = start(tmp_path, encoder)
    with pytest.raises(TrainingError, match="--restart"):
        again.resume()


def test_a_half_written_state_is_passed_over(tmp_path: Path, encoder: Path) -> None:
    trainer, _, _ = start(tmp_path, encoder)
    assert not trainer.run(silent, no_scores, stop_after(trainer, 2))
    (tmp_path / ".state-00000009.tmp").mkdir()
    (tmp_path / "state-00000008").mkdir()
    again, _, _ = start(tmp_path, encoder)
    assert again.resume()
    assert again.resumed_step == 2


def test_a_diverged_run_stops_with_advice(tmp_path: Path, encoder: Path) -> None:
    trainer, model, _ = start(tmp_path, encoder)
    with torch.no_grad():
        model.heads.weight.fill_(float("nan"))
    with pytest.raises(TrainingError, match="--learning-rate"):
        trainer.run(silent, no_scores)


def test_each_head_learns_from_its_own_corpus_alone() -> None:
    layout = head_layout(TASKS_USED)
    logits = torch.randn(6, layout.width, requires_grad=True)
    targets = Targets(torch.tensor([0, 1, 2, 0, 0, 3]), torch.tensor([0, 0, 0, 1, 1, 1]), None)
    loss = head_loss(layout, logits, targets, RECIPE)
    loss.backward()
    assert logits.grad is not None
    first, second = layout.slices
    assert not logits.grad[:3, second].any()
    assert not logits.grad[3:, first].any()
    assert logits.grad[:3, first].any()
    assert logits.grad[3:, second].any()


def test_the_learning_rate_rises_then_falls_to_zero() -> None:
    factors = [rate_factor(step, 100, 0.1) for step in range(101)]
    assert factors[0] == pytest.approx(0.1)
    assert max(factors) == 1.0
    assert factors.index(1.0) in (9, 10)
    assert factors[100] == 0.0
    assert all(a >= b for a, b in pairwise(factors[10:]))


def test_an_encoder_that_is_not_there_is_told(tmp_path: Path) -> None:
    for name in ("nowhere", str(tmp_path / "missing")):
        with pytest.raises(TrainingError, match=r"no encoder|cannot be loaded"):
            load_encoder(name, RECIPE, TASKS_USED)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(TrainingError, match=r"has no weights: expected model\.safetensors"):
        load_encoder(str(tmp_path), RECIPE, TASKS_USED)


def test_a_user_corpus_becomes_a_task() -> None:
    task: Task = corpus_task("mine", sentences("Gene", "x"))
    assert task.label_names == ("Gene",)
    with pytest.raises(CorpusError, match="cannot name an entity type"):
        corpus_task("mine", sentences("a planet", "x"))
    assert corpus_task("mine", sentences("Planet", "x")).labels[0].entity_type == "Planet"
    with pytest.raises(CorpusError, match="no mention at all"):
        corpus_task("mine", [Sentence(("a",), ("O",), 1)])


def test_any_json_value_of_a_recipe_survives() -> None:
    values: dict[str, Any] = json.loads(json.dumps(RECIPE.values()))
    assert Recipe(**values) == RECIPE
