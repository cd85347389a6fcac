"""Encoders that are not what they seem: each is refused with the name of what is wrong."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from transformers import DistilBertConfig, DistilBertModel, RobertaConfig, RobertaModel

from pubner.cli import main
from schemas.errors import CheckpointError, TrainingError
from schemas.tasks import TASKS
from tests.support.checkpoints import sign_again, tiny_checkpoint, tiny_tokenizer
from tests.support.corpora import write_corpus, write_encoder
from training.encoders.loading import encoder_tokeniser, load_encoder, load_pretrained
from training.recipes.recipe import Recipe
from worker.checkpoint.folder import CONFIG, TOKENISER, WEIGHTS

RECIPE = Recipe("x", max_pieces=64)
TASK = (TASKS["bc2gm"],)
Spoil = Callable[[Path], None]


@pytest.fixture
def encoder(tmp_path: Path) -> Path:
    return write_encoder(tmp_path / "encoder")


def weights(change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]) -> Spoil:
    """Return what changes the tensors of an encoder."""

    def spoil(folder: Path) -> None:
        save_file(change(load_file(folder / WEIGHTS)), folder / WEIGHTS, metadata={"format": "pt"})

    return spoil


def config(**values: object) -> Spoil:
    """Return what changes values of an encoder's configuration."""

    def spoil(folder: Path) -> None:
        known = json.loads((folder / CONFIG).read_text())
        (folder / CONFIG).write_text(json.dumps(known | values))

    return spoil


def prefixed(prefix: str) -> Spoil:
    return weights(lambda found: {prefix + name: tensor for name, tensor in found.items()})


def without(*parts: str) -> Spoil:
    return weights(
        lambda found: {n: t for n, t in found.items() if not any(part in n for part in parts)}
    )


def with_tensor(name: str, change: Callable[[torch.Tensor], torch.Tensor]) -> Spoil:
    return weights(lambda found: found | {name: change(found[name]).contiguous()})


def nan(tensor: torch.Tensor) -> torch.Tensor:
    tensor.view(-1)[3] = float("nan")
    return tensor


def replaced(name: str, content: bytes | None) -> Spoil:
    def spoil(folder: Path) -> None:
        (folder / name).unlink()
        if content is not None:
            (folder / name).write_bytes(content)

    return spoil


def pickled(folder: Path) -> None:
    (folder / WEIGHTS).rename(folder / "pytorch_model.bin")


def piped(name: str) -> Spoil:
    def spoil(folder: Path) -> None:
        (folder / name).unlink()
        os.mkfifo(folder / name)

    return spoil


QUERY = "encoder.layer.1.attention.self.query.weight"


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (prefixed("module.bert."), r"lacks 37 of its 37 tensors.* take 'module\.' off the names"),
        (prefixed("model."), r"lacks 37 of its 37 .*embeddings\.LayerNorm\.bias.* take 'model\.'"),
        (prefixed("roberta."), r"lacks 37 of its 37 tensors"),
        (without("layer.1."), r"lacks 16 of its 37 .*encoder\.layer\.1\.attention\.output"),
        (without("word_embeddings"), r"lacks 1 of its 37 .*embeddings\.word_embeddings\.weight"),
        (without("LayerNorm.bias"), r"lacks 5 of its 37 tensors"),
        (config(num_hidden_layers=4), r"lacks 32 of its 69 .*encoder\.layer\.2\."),
        (config(num_hidden_layers=1), r"has 16 tensors that its config\.json leaves out: encoder"),
        (config(num_hidden_layers=10**9), r"num_hidden_layers is 1000000000, and the weights have"),
        (config(hidden_size=10**12), r"hidden_size is 1000000000000, and the weights have"),
        (config(hidden_size=64), r"has the shape \[32\], expected \[64\]"),
        (config(intermediate_size=48), r"is not what its config\.json says: encoder\.layer\.0"),
        (config(vocab_size=40), r"word_embeddings\.weight has the shape \[\d+, 32\], expected"),
        (config(max_position_embeddings=64), r"position_embeddings\.weight has the shape"),
        (config(type_vocab_size=10**7), r"token_type_embeddings\.weight has the shape \[4, 32\]"),
        (config(hidden_act="gelly"), r"cannot be loaded: KeyError: 'gelly'"),
        (config(num_attention_heads=5), r"cannot be loaded: ValueError: The hidden size"),
        (config(model_type="bart-like"), r"cannot be loaded: ValueError"),
        (with_tensor(QUERY, lambda t: t[:-1]), r"query\.weight has the shape \[31, 32\]"),
        (with_tensor(QUERY, lambda t: (t * 9).to(torch.int8)), r"query\.weight is of type I8"),
        (with_tensor(QUERY, nan), r"query\.weight holds non-finite values"),
        (with_tensor(QUERY, lambda t: (t * 1e9).half()), r"holds non-finite values"),
        (replaced(WEIGHTS, None), r"has no weights: expected model\.safetensors"),
        (replaced(WEIGHTS, b"\0" * 99), r"is no readable safetensors file"),
        (replaced(CONFIG, None), r"config\.json is missing"),
        (replaced(CONFIG, b"[1]"), r"config\.json holds no JSON object"),
        (replaced(CONFIG, b"[" * 100_000), r"config\.json holds no JSON"),
        (piped(CONFIG), r"config\.json is missing, or no file"),
        (piped(WEIGHTS), r"has no weights"),
        (pickled, r"pytorch_model\.bin alone, which is not read.*save_pretrained"),
        (replaced(TOKENISER, None), r"has no tokeniser, so every word would be unknown"),
    ],
)
def test_what_is_wrong_with_an_encoder_is_named(encoder: Path, spoil: Spoil, says: str) -> None:
    spoil(encoder)
    with pytest.raises(TrainingError, match=says) as refused:
        load_encoder(str(encoder), RECIPE, TASK)
    assert len(str(refused.value)) < 900


def test_a_sound_encoder_is_read_and_draws_no_random_number(encoder: Path) -> None:
    before = torch.get_rng_state()
    found = load_pretrained(
        str(encoder), dropout=0.1, attention_dropout=0.1, letter_case=False, max_pieces=64
    )
    assert torch.equal(torch.get_rng_state(), before)
    expected = load_file(encoder / WEIGHTS)
    assert found.encoder.state_dict().keys() == expected.keys() - {
        "pooler.dense.weight",
        "pooler.dense.bias",
    }
    for name, tensor in found.encoder.state_dict().items():
        assert torch.equal(tensor, expected[name]), name


def legacy(found: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """As TensorFlow's BERT named its tensors, under the prefix of a model with heads."""
    renamed = {
        "bert."
        + n.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
            "LayerNorm.bias", "LayerNorm.beta"
        ): t
        for n, t in found.items()
    }
    return renamed | {
        "cls.predictions.bias": torch.zeros(7),
        "bert.embeddings.position_ids": torch.arange(128)[None],
    }


@pytest.mark.parametrize(
    "change",
    [
        weights(legacy),
        prefixed("bert."),
        without("pooler"),
        weights(lambda found: {name: tensor.half() for name, tensor in found.items()}),
        weights(lambda found: {name: tensor.bfloat16() for name, tensor in found.items()}),
    ],
)
def test_what_is_only_named_or_kept_otherwise_is_read(
    encoder: Path, tmp_path: Path, change: Spoil
) -> None:
    plain = load_encoder(str(encoder), RECIPE, TASK).model.encoder.state_dict()
    other = shutil.copytree(encoder, tmp_path / "other")
    change(other)
    found = load_encoder(str(other), RECIPE, TASK).model.encoder.state_dict()
    assert found.keys() == plain.keys()
    for name, tensor in plain.items():
        assert torch.allclose(found[name], tensor, atol=0.01), name


def in_parts(folder: Path) -> None:
    """Part the weights into two files and an index, as large encoders have them."""
    found = load_file(folder / WEIGHTS)
    (folder / WEIGHTS).unlink()
    parts = {name: f"model-0000{1 + n % 2}-of-00002.safetensors" for n, name in enumerate(found)}
    for part in set(parts.values()):
        save_file(
            {n: t for n, t in found.items() if parts[n] == part},
            folder / part,
            metadata={"format": "pt"},
        )
    (folder / f"{WEIGHTS}.index.json").write_text(
        json.dumps({"metadata": {"total_size": 1}, "weight_map": parts})
    )


def test_weights_in_parts_are_read_and_a_missing_part_is_named(
    encoder: Path, tmp_path: Path
) -> None:
    plain = load_encoder(str(encoder), RECIPE, TASK).model.encoder.state_dict()
    in_parts(encoder)
    found = load_encoder(str(encoder), RECIPE, TASK).model.encoder.state_dict()
    assert all(torch.equal(found[name], tensor) for name, tensor in plain.items())
    (encoder / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(TrainingError, match=r"names the part 'model-00002-of-00002\.safetensors'"):
        load_encoder(str(encoder), RECIPE, TASK)
    index = encoder / f"{WEIGHTS}.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "../../etc/passwd"}}))
    with pytest.raises(TrainingError, match=r"names the part '\.\./\.\./etc/passwd'"):
        load_encoder(str(encoder), RECIPE, TASK)


@pytest.mark.parametrize("kind", ["distilbert", "roberta"])
def test_other_encoders_are_checked_alike(tmp_path: Path, kind: str) -> None:
    size = len(tiny_tokenizer().get_vocab())
    if kind == "distilbert":
        DistilBertModel(
            DistilBertConfig(vocab_size=size, dim=16, n_layers=2, n_heads=2, hidden_dim=32)
        ).save_pretrained(tmp_path)
    else:
        RobertaModel(
            RobertaConfig(
                vocab_size=size, hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
                intermediate_size=32, max_position_embeddings=130,
            ),
            add_pooling_layer=False,
        ).save_pretrained(tmp_path)  # fmt: skip
    tiny_tokenizer().save(str(tmp_path / TOKENISER))
    plain = Recipe("x", max_pieces=64, letter_case=False)
    load_encoder(str(tmp_path), plain, TASK)
    without("layer.1.")(tmp_path)
    with pytest.raises(TrainingError, match=r"lacks 16 of its \d+ tensors.*layer\.1\."):
        load_encoder(str(tmp_path), plain, TASK)


def write_tokeniser(folder: Path, vocabulary: list[str], *, lower: bool) -> None:
    """Write a `tokenizer.json`."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    numbers = {piece: number for number, piece in enumerate([*special, *vocabulary])}
    tokenizer = Tokenizer(models.WordPiece(numbers, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lower)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.save(str(folder / TOKENISER))


def test_a_tokeniser_of_another_encoder_is_refused(encoder: Path) -> None:
    rows = len(tiny_tokenizer().get_vocab())
    larger = [f"word{number}" for number in range(rows)]
    write_tokeniser(encoder, larger, lower=True)
    with pytest.raises(TrainingError, match=rf"has {rows + 5} ids, its table .* {rows} rows"):
        load_encoder(str(encoder), RECIPE, TASK)
    with pytest.raises(TrainingError, match=rf"has {rows + 5} ids, its table .* {rows} rows"):
        encoder_tokeniser(str(encoder))
    write_tokeniser(encoder, larger[: rows // 2], lower=True)
    with pytest.raises(TrainingError, match="more than padding explains"):
        load_encoder(str(encoder), RECIPE, TASK)


def test_a_table_that_is_padded_is_sound(encoder: Path) -> None:
    rows = -(-len(tiny_tokenizer().get_vocab()) // 64) * 64
    config(vocab_size=rows)(encoder)
    name = "embeddings.word_embeddings.weight"
    with_tensor(name, lambda t: torch.cat([t, torch.zeros(rows - len(t), t.shape[1])]))(encoder)
    assert load_encoder(str(encoder), RECIPE, TASK).config.vocab_size == rows


CASED = ["Aspirin", "aspirin", "helps", "Cancer", "cancer", "DNA", "of", "the", "The"]


@pytest.mark.parametrize(
    ("pieces", "told", "reads_capitals"),
    [
        (CASED, None, True),
        (CASED, False, True),
        ([piece.lower() + str(n) for n, piece in enumerate(CASED)], None, False),
        (["aspirin", "helps", "dna", "café", "naïve", "the"], True, False),
    ],
)
def test_the_letter_case_of_a_vocabulary_alone_is_told_from_it(
    encoder: Path, pieces: list[str], told: bool | None, reads_capitals: bool
) -> None:
    vocabulary(encoder, pieces, told)
    tokeniser = encoder_tokeniser(str(encoder))
    word = pieces[0]
    lower, upper = (list(tokeniser.encode([text])[0].ids) for text in (word.lower(), word.upper()))
    if reads_capitals:
        (given,) = tokeniser.encode(["Aspirin"])
        assert list(given.ids) == [tokeniser.vocabulary()["Aspirin"]]
    else:
        assert lower == upper == [tokeniser.vocabulary()[word]]


def vocabulary(folder: Path, pieces: list[str], told: bool | None) -> None:
    """Put a `vocab.txt` in the place of an encoder's `tokenizer.json`."""
    rows = len(tiny_tokenizer().get_vocab())
    whole = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *pieces]
    whole += [f"##{number}" for number in range(rows - len(whole))]
    (folder / "vocab.txt").write_text("\n".join(whole) + "\n", "utf-8")
    (folder / TOKENISER).unlink()
    if told is not None:
        (folder / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": told}))


@pytest.mark.parametrize(
    ("pieces", "told", "says"),
    [
        (CASED, True, "lower-cases text, though .* of its word pieces have capital letters"),
        (["aspirin", "helps"], False, "keeps capital letters, which none of its word pieces has"),
    ],
)
def test_a_letter_case_that_the_vocabulary_has_not_is_refused(
    encoder: Path, pieces: list[str], told: bool, says: str
) -> None:
    vocabulary(encoder, pieces, told)
    with pytest.raises(TrainingError, match=says):
        load_encoder(str(encoder), RECIPE, TASK)


def test_a_vocabulary_that_leaves_the_letter_case_open_asks_for_it(encoder: Path) -> None:
    few = ["DNA", *(chr(ord("a") + n % 26) + chr(ord("a") + n // 26) * 2 for n in range(150))]
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    (encoder / TOKENISER).unlink()
    (encoder / "vocab.txt").write_text("\n".join([*special, *few]) + "\n")
    with pytest.raises(TrainingError, match=r"0\.7% .* set it in tokenizer_config\.json"):
        load_encoder(str(encoder), RECIPE, TASK)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("/nowhere/at/all", "no encoder '/nowhere/at/all': there is no such folder"),
        ("./missing", "no encoder './missing': there is no such folder"),
        ("missing", "no encoder 'missing': there is no such folder"),
    ],
)
def test_a_folder_that_is_missing_is_one_clear_line(name: str, says: str) -> None:
    with pytest.raises(TrainingError, match=says):
        load_encoder(name, RECIPE, TASK)


def test_a_missing_folder_that_could_be_a_hub_id_is_said_to_be_neither(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(TrainingError, match="no encoder 'models/mine': there is no such folder"):
        load_encoder("models/mine", RECIPE, TASK)


def test_a_file_is_no_encoder(encoder: Path) -> None:
    with pytest.raises(TrainingError, match="it is a file; name the folder that holds it"):
        load_encoder(str(encoder / WEIGHTS), RECIPE, TASK)


def test_a_tokeniser_that_knows_few_words_of_the_corpus_is_refused(
    encoder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = len(tiny_tokenizer().get_vocab())
    known = ["the", "of", "in", "with", *(f"w{number}" for number in range(rows - 9))]
    write_tokeniser(encoder, known, lower=True)
    write_corpus(tmp_path / "corpora" / "BC2GM-IOBES", "GENE", "protein")
    common = ["--device", "cpu", "--encoder", str(encoder), "--output", str(tmp_path / "out")]
    common += ["--data", str(tmp_path / "corpora"), "--corpus", "bc2gm", "--max-pieces", "64"]
    for command in ("stl", "mlm"):
        assert main(["train", command, *common]) == 2
        error = capsys.readouterr().err
        assert len(error.splitlines()) == 1
        assert "of the words of the " in error
        assert "'protein'" in error
    assert main(["tune", *common, "--trials", "1"]) == 2
    assert "knows 33% of the words of the corpus bc2gm" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (without("layer.1.output.dense.bias"), "lacks the tensor encoder.encoder.layer.1.output"),
        (without("heads.bias"), "lacks the tensor heads.bias"),
        (with_tensor(f"encoder.{QUERY}", nan), "holds non-finite values"),
        (with_tensor("heads.weight", lambda t: t[1:]), "heads.weight has the shape"),
        (weights(lambda f: f | {"encoder.x": torch.zeros(1)}), "has a tensor encoder.x"),
    ],
)
def test_a_checkpoint_to_go_on_from_is_checked_alike(
    tmp_path: Path, spoil: Spoil, says: str
) -> None:
    folder = tiny_checkpoint(tmp_path / "checkpoint")
    spoil(folder)
    sign_again(folder)
    tasks = (TASKS["ncbi-disease"],)
    recipe = Recipe("x", max_pieces=64, letter_case=True)
    with pytest.raises((CheckpointError, TrainingError), match=says):
        load_encoder(str(folder), recipe, tasks)
