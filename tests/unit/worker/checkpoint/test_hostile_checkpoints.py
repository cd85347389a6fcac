"""Checkpoints that a stranger made: each is refused in one line, whatever is in it."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from schemas.errors import CheckpointError, RecordError
from tests.support.checkpoints import sign_again, tiny_checkpoint, with_panicking_tokeniser
from worker.checkpoint.folder import CONFIG, MANIFEST, TOKENISER, WEIGHTS
from worker.registry.trial import try_tagger
from worker.tagger import load_tagger

Damage = Callable[[Path], None]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_checkpoint(tmp_path_factory.mktemp("made"))


@pytest.fixture
def checkpoint(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "checkpoint"))


def config(**changes: Any) -> Damage:
    """Change values of config.json; a value of None removes the key."""

    def damage(folder: Path) -> None:
        values = json.loads((folder / CONFIG).read_text("utf-8")) | changes
        values = {name: value for name, value in values.items() if value is not None}
        (folder / CONFIG).write_text(json.dumps(values), "utf-8")

    return damage


def content(name: str, data: bytes) -> Damage:
    """Replace a file by `data`."""

    def damage(folder: Path) -> None:
        (folder / name).write_bytes(data)

    return damage


def tokeniser(change: Callable[[dict[str, Any]], None]) -> Damage:
    """Change the object in tokenizer.json."""

    def damage(folder: Path) -> None:
        values = json.loads((folder / TOKENISER).read_text("utf-8"))
        change(values)
        (folder / TOKENISER).write_text(json.dumps(values), "utf-8")

    return damage


def vocabulary(**pieces: int) -> Damage:
    return tokeniser(lambda values: values["model"]["vocab"].update(pieces))


def without_special_pieces(values: dict[str, Any]) -> None:
    values["model"]["vocab"].pop("[CLS]")
    values["added_tokens"].clear()


def weights(change: Callable[[dict[str, torch.Tensor]], None]) -> Damage:
    """Change the tensors."""

    def damage(folder: Path) -> None:
        tensors = load_file(folder / WEIGHTS)
        change(tensors)
        save_file(tensors, folder / WEIGHTS)

    return damage


def as_type(kind: torch.dtype) -> Damage:
    return weights(lambda t: t.update({name: tensor.to(kind) for name, tensor in t.items()}))


DEEP = b'{"model_type": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"

BAD_CONFIG: dict[str, Damage] = {
    "a billion layers": config(num_hidden_layers=10**9),
    "a million layers": config(num_hidden_layers=10**6),
    "one layer more": config(num_hidden_layers=3),
    "no layer": config(num_hidden_layers=0),
    "a negative number of layers": config(num_hidden_layers=-1),
    "half a layer": config(num_hidden_layers=1.5),
    "layers in words": config(num_hidden_layers="two"),
    "layers in a list": config(num_hidden_layers=[2]),
    "a width of a billion": config(hidden_size=10**9),
    "no width": config(hidden_size=0),
    "a width in words": config(hidden_size="wide"),
    "an intermediate width of a trillion": config(intermediate_size=10**12),
    "a vocabulary of a trillion": config(vocab_size=10**12),
    "a negative vocabulary": config(vocab_size=-5),
    "positions of a trillion": config(max_position_embeddings=10**12),
    "a number of 4,000 digits": content(
        CONFIG, b'{"model_type": "bert", "hidden_size": ' + b"9" * 4000 + b"}"
    ),
    "a number of 5,000 digits": content(
        CONFIG, b'{"model_type": "bert", "hidden_size": ' + b"9" * 5000 + b"}"
    ),
    "an activation that nobody knows": config(hidden_act="nobody-knows"),
    "an activation of a list": config(hidden_act=["gelu"]),
    "an activation of nothing": content(CONFIG, b'{"model_type": "bert", "hidden_act": null}'),
    "a norm in words": config(layer_norm_eps="small"),
    "a norm that is no number": config(layer_norm_eps=float("nan")),
    "no attention head": config(num_attention_heads=0),
    "a negative number of heads": config(num_attention_heads=-4),
    "heads in words": config(num_attention_heads="four"),
    "labels for all memory": config(num_labels=10**9, num_hidden_layers=3),
    "another family": config(model_type="gpt2"),
    "another family with a billion layers": config(model_type="roberta", num_hidden_layers=10**9),
    "another family of its own names": config(model_type="distilbert", n_layers=10**9),
    "a family of images": config(model_type="vit"),
    "a family that nobody knows": config(model_type="nobody-knows"),
    "a family of a list": config(model_type=["bert"]),
    "no family": config(model_type=None),
    "code of its own": config(model_type="mine", auto_map={"AutoModel": "mine.Mine"}),
    "no object": content(CONFIG, b"[1, 2]"),
    "null": content(CONFIG, b"null"),
    "nothing": content(CONFIG, b""),
    "no JSON": content(CONFIG, b"\xff\xfe\x00"),
    "deep nesting": content(CONFIG, DEEP),
    "a huge file": content(CONFIG, b'{"model_type": "bert"' + b" " * (2 << 20) + b"}"),
}
BAD_TOKENISER: dict[str, Damage] = {
    "nothing": content(TOKENISER, b""),
    "null": content(TOKENISER, b"null"),
    "deep nesting": content(TOKENISER, DEEP),
    "no special pieces": tokeniser(without_special_pieces),
    "an id beyond the table": vocabulary(beyond=10**6),
    "an id of 32 bits": vocabulary(beyond=2**32 - 1),
    "a negative id": vocabulary(below=-1),
    "a normaliser that nobody knows": tokeniser(
        lambda values: values.update(normalizer={"type": "Nobody"})
    ),
    "a pattern that is none": tokeniser(
        lambda values: values.update(
            pre_tokenizer={
                "type": "Split",
                "pattern": {"Regex": "(("},
                "behavior": "Isolated",
                "invert": False,
            }
        )
    ),
}
BAD_WEIGHTS: dict[str, Damage] = {
    "nothing": content(WEIGHTS, b""),
    "a header without end": content(WEIGHTS, (2**63).to_bytes(8, "little") + b"{}"),
    "a header that is no JSON": content(WEIGHTS, (4).to_bytes(8, "little") + b"\xff\xff\xff\xff"),
    "a tensor outside the file": content(
        WEIGHTS,
        (79).to_bytes(8, "little")
        + b'{"heads.weight": {"dtype": "F16", "shape": [9, 9], "data_offsets": [0, 162]}}  ',
    ),
    "a pickle": content(WEIGHTS, b"\x80\x04\x95\x0b\x00\x00\x00\x00\x00\x00\x00\x8c\x07builtins."),
    "whole numbers": as_type(torch.int64),
    "double precision": as_type(torch.float64),
    "one more tensor": weights(lambda t: t.update(surprise=torch.zeros(3))),
    "heads without a shape": weights(lambda t: t.update({"heads.weight": torch.tensor(1.0)})),
    "heads of one dimension": weights(lambda t: t.update({"heads.weight": torch.zeros(18)})),
}


def refused(folder: Path) -> str:
    """Load the checkpoint, which must be refused; return what the one line says."""
    with pytest.raises(CheckpointError) as raised:
        load_tagger([folder], device="cpu", threads=1)
    said = str(raised.value)
    assert folder.name in said
    assert "\n" not in said
    return said


@pytest.mark.parametrize("name", BAD_CONFIG)
def test_a_configuration_that_cannot_be_is_refused(checkpoint: Path, name: str) -> None:
    BAD_CONFIG[name](checkpoint)
    sign_again(checkpoint)
    refused(checkpoint)


@pytest.mark.parametrize("name", BAD_TOKENISER)
def test_a_tokeniser_that_cannot_be_is_refused(checkpoint: Path, name: str) -> None:
    BAD_TOKENISER[name](checkpoint)
    sign_again(checkpoint)
    refused(checkpoint)


@pytest.mark.parametrize("name", BAD_WEIGHTS)
def test_weights_that_cannot_be_are_refused(checkpoint: Path, name: str) -> None:
    BAD_WEIGHTS[name](checkpoint)
    sign_again(checkpoint)
    refused(checkpoint)


@pytest.mark.parametrize("pieces", [-1, 0, 2, 3, 10**9])
def test_a_longest_input_that_cannot_be_is_refused(checkpoint: Path, pieces: int) -> None:
    sign_again(checkpoint, max_pieces=pieces)
    assert "max_pieces" in refused(checkpoint)


@pytest.mark.parametrize("name", [MANIFEST, WEIGHTS, CONFIG, TOKENISER])
@pytest.mark.parametrize("kind", ["pipe", "device", "folder"])
def test_only_regular_files_are_opened(checkpoint: Path, name: str, kind: str) -> None:
    (checkpoint / name).unlink()
    if kind == "pipe":
        os.mkfifo(checkpoint / name)
    elif kind == "device":
        (checkpoint / name).symlink_to("/dev/zero")
    else:
        (checkpoint / name).mkdir()
    assert "regular file" in refused(checkpoint)


@pytest.mark.parametrize(
    ("name", "size"), [(MANIFEST, 1 << 30), (TOKENISER, 1 << 30), (WEIGHTS, 1 << 40)]
)
def test_a_file_larger_than_any_real_one_is_not_read(
    checkpoint: Path, name: str, size: int
) -> None:
    os.truncate(checkpoint / name, size)
    assert "at most" in refused(checkpoint)


def test_a_tokeniser_that_panics_fails_the_text_alone(checkpoint: Path) -> None:
    tagger = load_tagger([with_panicking_tokeniser(checkpoint)], device="cpu", threads=1)
    with pytest.raises(RecordError, match="tokeniser fails on this text"):
        try_tagger(tagger)
