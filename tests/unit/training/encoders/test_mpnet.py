"""MPNet: relative position biases without SDPA, no token types, `<s>` beside BERT's `[CLS]`."""

from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import MPNetConfig, MPNetModel

from pubner.cli import main
from schemas.errors import TrainingError
from schemas.tasks import TASKS
from tests.support.checkpoints import tiny_vocabulary
from tests.support.corpora import write_corpus
from training.encoders.loading import load_encoder
from training.recipes.recipe import Recipe
from worker.checkpoint.folder import TOKENISER, WEIGHTS
from worker.tagger import load_tagger

TASK = (TASKS["ncbi-disease"],)


def mpnet_tokenizer() -> Tokenizer:
    """Return a tokenizer laid out as MPNet's: its special pieces, then BERT's vocabulary."""
    pieces = ["<s>", "<pad>", "</s>", "<unk>", *tiny_vocabulary(), "<mask>"]
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.RobertaProcessing(
        ("</s>", vocabulary["</s>"]), ("<s>", vocabulary["<s>"])
    )
    return tokenizer


@pytest.fixture
def mpnet(tmp_path: Path) -> Path:
    folder = tmp_path / "mpnet"
    tokenizer = mpnet_tokenizer()
    config = MPNetConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=130,
    )
    with torch.random.fork_rng():
        torch.manual_seed(3)
        MPNetModel(config).save_pretrained(folder)
    tokenizer.save(str(folder / TOKENISER))
    return folder


def test_the_tokenisers_own_special_pieces_are_used(mpnet: Path) -> None:
    tokeniser = load_encoder(str(mpnet), Recipe("x", max_pieces=64), TASK).tokeniser
    vocabulary = tokeniser.vocabulary()
    assert (tokeniser.start_id, tokeniser.end_id) == (vocabulary["<s>"], vocabulary["</s>"])
    assert tokeniser.pad_id == vocabulary["<pad>"] == 1
    assert tokeniser.unknown_id == vocabulary["[UNK]"]


def test_positions_begin_after_the_padding_piece(mpnet: Path) -> None:
    load_encoder(str(mpnet), Recipe("x", max_pieces=128), TASK)
    with pytest.raises(TrainingError, match="max_pieces is 129, the encoder reads 128"):
        load_encoder(str(mpnet), Recipe("x", max_pieces=129), TASK)


def test_an_mpnet_trains_and_its_checkpoint_tags_the_same_everywhere(
    mpnet: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, out = tmp_path / "data", tmp_path / "out"
    write_corpus(data / "mine", "Disease", "fever")
    train = [
        "train", "stl", "--corpus", "mine", "--data", str(data), "--output", str(out),
        "--encoder", str(mpnet), "--recipe", "reference", "--max-pieces", "64",
        "--set", "learning_rate=3e-3,head_rate_factor=3", "--epochs", "8", "--device", "cpu",
    ]  # fmt: skip
    assert main(train) == 0
    with safe_open(out / WEIGHTS, "pt") as file:
        assert not [name for name in file.keys() if "pooler" in name]  # noqa: SIM118
    tagger = load_tagger([out], device="cpu", precision="fp32")
    texts = ["the fever of", "in fever", "human", "for fever human the cell of with the"]
    together = tagger.annotate(texts)
    found = [
        text[m.start : m.end]
        for text, one in zip(texts, together, strict=True)
        for m in one.mentions
    ]
    assert found == ["fever"] * 3
    # Padding beside longer texts changes nothing.
    alone = [tagger.annotate([text])[0] for text in texts]
    assert [[(m.start, m.end) for m in one.mentions] for one in alone] == [
        [(m.start, m.end) for m in one.mentions] for one in together
    ]
    # The checkpoint is an encoder to continue from, too.
    assert load_encoder(str(out), Recipe("x", max_pieces=64), TASK).config.model_type == "mpnet"
    capsys.readouterr()
