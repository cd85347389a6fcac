"""A package outside the tree adds an encoder family; pubner trains and tags with it."""

import json
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from pubner.cli import main
from schemas.errors import CheckpointError
from tests.support.checkpoints import tiny_tokenizer
from tests.support.corpora import write_corpus
from worker.checkpoint.folder import CONFIG, TOKENISER, WEIGHTS
from worker.network.families import ENTRY_POINTS
from worker.tagger import load_tagger

MODULE = """
from types import SimpleNamespace

import pubner
from torch import nn


class Convolution(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        self.words = nn.Embedding(config.vocab_size, config.hidden_size)
        self.mix = nn.Conv1d(config.hidden_size, config.hidden_size, 3, padding=1)

    def get_input_embeddings(self):
        return self.words

    def forward(self, input_ids, attention_mask, token_type_ids=None):
        rows = self.words(input_ids) * attention_mask.unsqueeze(-1)
        return SimpleNamespace(
            last_hidden_state=rows + self.mix(rows.transpose(1, 2)).transpose(1, 2)
        )


class ConvolutionFamily(pubner.ModuleFamily):
    name = "convolution"

    def is_supported(self, config):
        return config.model_type == "our-convolution"

    def build(self, config):
        return Convolution(config)
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Install a package with an encoder family, as pip would lay it out."""
    site = tmp_path / "site"
    info = site / "our_encoders-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "our_encoders.py").write_text(MODULE)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: our-encoders\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        f"[{ENTRY_POINTS}]\nconvolution = our_encoders:ConvolutionFamily\n"
    )
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.delitem(sys.modules, "our_encoders", raising=False)
    return site


@pytest.fixture
def encoder(tmp_path: Path) -> Path:
    """A pretrained encoder of that family: random weights, and a tokeniser."""
    folder = tmp_path / "encoder"
    folder.mkdir()
    size = tiny_tokenizer().get_vocab_size()
    values = {"model_type": "our-convolution", "vocab_size": size, "hidden_size": 16}
    (folder / CONFIG).write_text(json.dumps(values))
    generator = torch.Generator().manual_seed(1)
    weights = {
        "words.weight": torch.randn(size, 16, generator=generator),
        "mix.weight": torch.randn(16, 16, 3, generator=generator) * 0.1,
        "mix.bias": torch.zeros(16),
    }
    save_file(weights, folder / WEIGHTS)
    tiny_tokenizer().save(str(folder / TOKENISER))
    return folder


def train(tmp_path: Path, encoder: Path) -> int:
    write_corpus(tmp_path / "data/mine", "Disease", "fever")
    return main(
        [
            "train", "stl", "--corpus", "mine", "--data", str(tmp_path / "data"), "--output",
            str(tmp_path / "out"), "--encoder", str(encoder), "--recipe", "reference", "--epochs",
            "6", "--learning-rate", "0.03", "--max-pieces", "64", "--device", "cpu",
        ]
    )  # fmt: skip


def test_a_family_from_outside_trains_and_tags(
    package: Path, encoder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(tmp_path, encoder) == 0, capsys.readouterr().err
    text = "the fever of cell"
    tagger = load_tagger([tmp_path / "out"], device="cpu")
    [found] = tagger.annotate([text])
    assert [text[m.start : m.end] for m in found.mentions] == ["fever"]
    # Without the package the checkpoint is refused, and says what is missing.
    (package / "our_encoders-1.0.dist-info/entry_points.txt").unlink()
    with pytest.raises(CheckpointError, match="names no encoder that transformers knows"):
        load_tagger([tmp_path / "out"], device="cpu")


def test_weights_that_the_family_lacks_are_refused(
    package: Path, encoder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert package.is_dir()
    save_file({"words.weight": torch.zeros(3, 16)}, encoder / WEIGHTS)
    assert train(tmp_path, encoder) == 2
    assert "lacks 2 of its 3 tensors" in capsys.readouterr().err


def test_a_family_that_cannot_be_imported_is_named(
    package: Path, encoder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (package / "our_encoders.py").write_text("import no_such_module\n")
    assert train(tmp_path, encoder) == 2
    shown = capsys.readouterr().err
    assert "'our_encoders:ConvolutionFamily' of pubner.encoder_families) cannot be loaded" in shown
