"""Small corpora and encoders that tests train on."""

from pathlib import Path

import torch
from transformers import BertModel

from tests.support.checkpoints import tiny_config, tiny_tokenizer

_FILLERS = ("the", "of", "in", "with", "was", "for", "human", "cell")


def write_encoder(folder: Path, *, seed: int = 3) -> Path:
    """Write a tiny random encoder in transformers' layout, and return its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        BertModel(tiny_config()).save_pretrained(folder)
    tiny_tokenizer().save(str(folder / "tokenizer.json"))
    return folder


def write_corpus(folder: Path, label: str, word: str, *, sentences: int = 24) -> Path:
    """Write three splits in which `word` is always a mention, and return `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for split in ("train", "devel", "test"):
        lines = []
        for number in range(sentences):
            before, after = _FILLERS[number % 8], _FILLERS[(number * 3 + 1) % 8]
            lines += [f"{before}\tO", f"{word}\tS-{label}", f"{after}\tO", ""]
        (folder / f"{split}.tsv").write_text("\n".join(lines) + "\n", "utf-8")
    return folder
