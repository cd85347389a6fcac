"""Masked-language-model training: it learns, is seeded, goes on, and its encoder trains on."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel

from schemas.errors import SettingsError, TrainingError
from schemas.tasks import TASKS
from tests.support.checkpoints import tiny_checkpoint, tiny_config, tiny_tokenizer
from tests.support.corpora import write_corpus, write_encoder
from training.encoders.loading import load_encoder, load_pretrained
from training.mlm.model import MaskedModel, frequency_bias
from training.mlm.run import STATE, MlmResult, MlmRun, run_mlm
from training.recipes.mlm import MlmRecipe
from training.recipes.recipe import Recipe
from training.reports.progress import LoopProgress
from worker.checkpoint.folder import WEIGHTS, file_digest
from worker.network.families import build_model

pytestmark = pytest.mark.usefixtures("one_thread")

RECIPE = MlmRecipe(
    epochs=3, learning_rate=1e-2, max_pieces=32, batch_pieces=256, held_out=0.1, seed=4
)
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an encoder, a corpus and texts that can be learnt: each word has its place."""
    folder = tmp_path_factory.mktemp("ground")
    write_encoder(folder / "encoder")
    write_corpus(folder / "BC2GM-IOBES", "GENE", "protein")
    rng = np.random.default_rng(0)
    lines = []
    for number in range(150):
        gene = ("TP53", "brca1", "Protein")[rng.integers(3)]
        rest = "of the cell was in the disease. " * int(rng.integers(1, 5))
        lines.append(json.dumps({"title": f"{number} The {gene}", "abstract": rest}))
    (folder / "texts.jsonl").write_text("\n".join([*lines, "no json"]) + "\n", "utf-8")
    return folder


def make_run(ground: Path, output: Path, recipe: MlmRecipe = RECIPE, **changes: Any) -> MlmRun:
    run = MlmRun(
        recipe,
        str(ground / "encoder"),
        output,
        CPU,
        bf16=False,
        texts=(ground / "texts.jsonl",),
        corpora=("bc2gm",),
        root=ground,
    )
    return replace(run, **changes)


def finish(run: MlmRun, **more: Any) -> MlmResult:
    result = run_mlm(run, **more)
    assert result is not None
    return result


@pytest.fixture(scope="module")
def undisturbed(ground: Path, tmp_path_factory: pytest.TempPathFactory) -> MlmResult:
    torch.set_num_threads(1)
    return finish(make_run(ground, tmp_path_factory.mktemp("undisturbed") / "out"))


def test_held_out_text_is_guessed_better_and_better(undisturbed: MlmResult) -> None:
    before, *behind = undisturbed.held_out
    assert [found.epoch for found in undisturbed.held_out] == [0, 1, 2, 3]
    assert behind[-1].loss < behind[0].loss < before.loss
    assert behind[-1].loss < before.loss - 0.5
    assert behind[-1].accuracy > before.accuracy
    assert len({found.pieces for found in undisturbed.held_out}) == 1


def test_the_record_says_what_the_encoder_was_made_from(
    ground: Path, undisturbed: MlmResult
) -> None:
    folder = undisturbed.folder
    assert sorted(path.name for path in folder.iterdir()) == [
        "config.json", "model.safetensors", "pretraining.json", "tokenizer.json",
    ]  # fmt: skip
    record = json.loads((folder / "pretraining.json").read_text())
    assert record["source"] == undisturbed.source
    assert record["encoder_source"] == str(ground / "encoder")
    assert record["recipe"] == RECIPE.values()
    assert [(text["name"], text["texts"], text["bad_lines"]) for text in record["texts"]] == [
        ("texts.jsonl", 150, 1),
        ("bc2gm", 24, 0),
    ]
    assert record["texts"][1]["sha256"] == file_digest(ground / "BC2GM-IOBES" / "train.tsv")
    assert record["steps"] == undisturbed.steps
    assert record["held_out"][0]["loss"] == undisturbed.held_out[0].loss
    assert set(record["versions"]) == {"torch", "transformers", "tokenizers"}
    assert record["files"][WEIGHTS] == file_digest(folder / WEIGHTS)
    for part in (str(ground / "encoder"), "masked language model", "texts.jsonl", "bc2gm"):
        assert part in undisturbed.source


def test_the_exported_encoder_is_the_trained_one_and_trains_on(
    ground: Path, undisturbed: MlmResult
) -> None:
    weights = load_file(undisturbed.folder / WEIGHTS)
    assert {tensor.dtype for tensor in weights.values()} == {torch.float32}
    start = load_encoder(
        str(undisturbed.folder), Recipe("x", letter_case=True, max_pieces=64), (TASKS["bc2gm"],)
    )
    assert start.source == undisturbed.source
    loaded = start.model.encoder.state_dict()
    assert set(loaded) == set(weights)
    for name, tensor in weights.items():
        assert torch.equal(loaded[name], tensor), name
    table = loaded["embeddings.token_type_embeddings.weight"]
    assert not torch.equal(table[0], table[1]), "letter case was learnt and is kept"
    assert not hasattr(start.config, "letter_case")
    before = load_file(ground / "encoder" / WEIGHTS)
    assert not torch.equal(
        before["embeddings.word_embeddings.weight"], weights["embeddings.word_embeddings.weight"]
    )


def test_an_encoder_that_reads_letter_case_is_not_read_without(undisturbed: MlmResult) -> None:
    recipe = Recipe("x", letter_case=False, max_pieces=64)
    with pytest.raises(TrainingError, match="was pretrained with letter case"):
        load_encoder(str(undisturbed.folder), recipe, (TASKS["bc2gm"],))


def test_without_letter_case_the_encoder_is_as_any_other(ground: Path, tmp_path: Path) -> None:
    recipe = replace(RECIPE, letter_case=False, epochs=1)
    result = finish(make_run(ground, tmp_path / "out", recipe, half=True))
    weights = load_file(result.folder / WEIGHTS)
    assert {tensor.dtype for tensor in weights.values()} == {torch.float16}
    old = load_file(ground / "encoder" / WEIGHTS)["embeddings.token_type_embeddings.weight"]
    # Rows that no piece is of do not change, but for the decay of weights.
    moved = weights["embeddings.token_type_embeddings.weight"].float() - old
    assert moved[0].abs().max() > 10 * moved[1:].abs().max()
    for letter_case in (False, True):
        start = load_pretrained(
            str(result.folder),
            dropout=0.1,
            attention_dropout=0.1,
            letter_case=letter_case,
            max_pieces=64,
        )
        rows = start.encoder.state_dict()["embeddings.token_type_embeddings.weight"]
        assert torch.equal(rows[0], rows[1]) == letter_case, "widened where it is wanted"


def test_an_encoder_can_be_pretrained_once_more(
    ground: Path, tmp_path: Path, undisturbed: MlmResult
) -> None:
    again = make_run(
        ground, tmp_path / "out", replace(RECIPE, epochs=1), encoder=str(undisturbed.folder)
    )
    result = finish(again)
    assert result.source.startswith(undisturbed.source)
    assert json.loads((result.folder / "config.json").read_text())["letter_case"] is True
    with pytest.raises(TrainingError, match="was pretrained with letter case"):
        run_mlm(replace(again, output=tmp_path / "b", recipe=replace(RECIPE, letter_case=False)))


def test_an_altered_encoder_is_refused(tmp_path: Path, undisturbed: MlmResult) -> None:
    folder = tmp_path / "copy"
    folder.mkdir()
    for path in undisturbed.folder.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    recipe = Recipe("x", letter_case=True, max_pieces=64)
    record = json.loads((folder / "pretraining.json").read_text())
    record["files"][WEIGHTS] = "0" * 64
    (folder / "pretraining.json").write_text(json.dumps(record))
    with pytest.raises(TrainingError, match=r"does not match pretraining\.json"):
        load_encoder(str(folder), recipe, ())
    (folder / "pretraining.json").write_text("{}")
    with pytest.raises(TrainingError, match="records what the encoder was made from"):
        load_encoder(str(folder), recipe, ())


def stop_after(calls: int) -> Callable[[], bool]:
    left = iter([False] * (calls - 1))
    return lambda: next(left, True)


@pytest.mark.parametrize("steps", [1, 4, 0, -1])
def test_a_stopped_run_goes_on_and_ends_as_if_never_stopped(
    ground: Path, tmp_path: Path, undisturbed: MlmResult, steps: int
) -> None:
    """Stopped in the first epoch, at its end (0), and at the last step of all (-1)."""
    epoch = undisturbed.steps // 3
    at = {0: epoch, -1: undisturbed.steps}.get(steps, steps)
    run = make_run(ground, tmp_path / "out", save_seconds=1e9)
    assert run_mlm(run, should_stop=stop_after(at)) is None
    assert (run.output / STATE / "latest").exists()
    assert not (run.output / "pretraining.json").exists()
    torch.rand(7)  # the generator's state is the run's own
    said: list[str] = []
    result = finish(run, log=said.append)
    assert f"Resuming at step {at} of an earlier start." in said
    assert result.held_out == undisturbed.held_out
    assert result.steps == undisturbed.steps
    assert (result.folder / WEIGHTS).read_bytes() == (undisturbed.folder / WEIGHTS).read_bytes()
    assert not (run.output / STATE).exists()


def test_a_run_of_another_seed_differs_and_another_recipe_is_no_resumption(
    ground: Path, tmp_path: Path, undisturbed: MlmResult
) -> None:
    run = make_run(ground, tmp_path / "out", replace(RECIPE, seed=5))
    assert run_mlm(run, should_stop=stop_after(2)) is None
    with pytest.raises(TrainingError, match=r"state of another run .differing: recipe"):
        run_mlm(replace(run, recipe=RECIPE))
    with pytest.raises(TrainingError, match=r"state of another run .differing: texts"):
        run_mlm(replace(run, corpora=()))
    assert finish(run).held_out != undisturbed.held_out


def test_steps_can_be_fewer_than_the_epochs_have(ground: Path, tmp_path: Path) -> None:
    seen: list[LoopProgress] = []
    run = make_run(ground, tmp_path / "out", replace(RECIPE, max_steps=3))
    result = finish(run, on_progress=seen.append)
    assert result.steps == 3
    assert [found.epoch for found in result.held_out] == [0, 1]
    assert [(now.step, now.steps) for now in seen] == [(1, 3), (2, 3), (3, 3)]


def test_what_cannot_be_trained_is_refused(
    ground: Path, tmp_path: Path, undisturbed: MlmResult
) -> None:
    with pytest.raises(TrainingError, match="already holds a finished encoder"):
        run_mlm(make_run(ground, undisturbed.folder))
    checkpoint = tiny_checkpoint(tmp_path / "checkpoint")
    with pytest.raises(TrainingError, match="is a checkpoint with heads"):
        run_mlm(make_run(ground, tmp_path / "out", encoder=str(checkpoint)))
    with pytest.raises(TrainingError, match="no encoder 'nothing'"):
        run_mlm(make_run(ground, tmp_path / "out", encoder="nothing"))
    wide = replace(RECIPE, max_pieces=200)
    with pytest.raises(TrainingError, match="max_pieces is 200, the encoder reads 128"):
        run_mlm(make_run(ground, tmp_path / "out", wide))
    broken = write_encoder(tmp_path / "broken")
    weights = load_file(broken / WEIGHTS)
    for value, says in (
        (float("nan"), "holds non-finite values"),
        (3e38, "the loss is nan at step 1: the run diverged"),
    ):
        weights["embeddings.LayerNorm.weight"].fill_(value)
        save_file(weights, broken / WEIGHTS, metadata={"format": "pt"})
        with pytest.raises(TrainingError, match=says):
            run_mlm(make_run(ground, tmp_path / "out", encoder=str(broken)))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epochs", 0), ("learning_rate", 0.0), ("mask_share", 1.0), ("max_pieces", 8),
        ("batch_pieces", 100), ("held_out", 0.0), ("warmup", 1.0), ("seed", -1), ("max_steps", -1),
    ],
)  # fmt: skip
def test_a_number_out_of_range_is_named(name: str, value: float) -> None:
    with pytest.raises(SettingsError, match=f"{name} is {value}, expected"):
        MlmRecipe(**{name: value})  # type: ignore[arg-type]


def test_the_head_guesses_with_the_encoders_own_table() -> None:
    torch.manual_seed(1)
    encoder = build_model(tiny_config(), 1).encoder
    counts = torch.zeros(int(tiny_config().vocab_size))
    counts[9] = 90
    bias = frequency_bias(counts)
    assert torch.isclose(bias.exp().sum(), torch.tensor(1.0))
    assert bias.argmax() == 9
    model = MaskedModel(encoder, bias).eval()
    ids = torch.randint(5, 50, (3, 16))
    mask = torch.ones(3, 16, dtype=torch.bool)
    mask[1, 9:] = False
    at = torch.tensor([1, 20, 40])
    with torch.inference_mode():
        logits = model(ids, mask, None, at)
        states = encoder(input_ids=ids, attention_mask=mask.long()).last_hidden_state
        chosen = states.reshape(-1, states.shape[-1])[at]
        guess = model.norm(torch.nn.functional.gelu(model.dense(chosen)))
        expected = guess @ encoder.embeddings.word_embeddings.weight.T + bias  # type: ignore[union-attr]
        assert torch.allclose(logits, expected, atol=1e-5)
        whole = torch.ones_like(mask)
        assert torch.allclose(model(ids, None, None, at), model(ids, whole, None, at), atol=1e-5)
    names = {name for name, _ in model.named_parameters()}
    assert {name for name in names if not name.startswith("encoder.")} == {
        "bias", "dense.weight", "dense.bias", "norm.weight", "norm.bias",
    }  # fmt: skip


def test_transformers_alone_reads_the_exported_folder(undisturbed: MlmResult) -> None:
    encoder = AutoModel.from_pretrained(undisturbed.folder, add_pooling_layer=False)
    assert encoder.config.letter_case is True
    tokenizer = tiny_tokenizer()
    ids = torch.tensor([tokenizer.encode("the cell").ids])
    assert encoder(input_ids=ids).last_hidden_state.isfinite().all()
