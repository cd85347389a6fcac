"""What the peers are given and what is made of their scores: pubner's mentions, to the letter."""

from pathlib import Path

import pytest

from benchmarks.peers import plain_torch, pubner_tagger
from benchmarks.weights import checkpoint_shape, single_head_models
from tests.support.checkpoints import tiny_checkpoint
from worker.tagger import load_tagger

TEXTS = [
    "BRCA1 and breast cancer\nThe protein was found in the cells of mice with asthma.",
    "",
    "Title only\n",
    "A long one\n" + "The gene of cancer was seen in proteins of the disease (p = 0.05). " * 30,
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real, tiny checkpoint."""
    return tiny_checkpoint(tmp_path_factory.mktemp("tiny") / "tiny")


def test_plain_pytorch_finds_the_same_mentions(folder: Path) -> None:
    shape = checkpoint_shape(folder)
    rows = plain_torch.load(shape, device="cpu", threads=1, models=folder)
    tagger = load_tagger([folder], device="cpu", threads=1, precision="fp32")
    expected = [annotation.mentions for annotation in tagger.annotate(TEXTS)]
    found = rows["torch-fp32"](TEXTS)
    assert isinstance(found, list)

    def places(mentions: object) -> list[object]:
        assert isinstance(mentions, tuple)
        return [(m.task, m.label, m.start, m.end, m.preferred) for m in mentions]

    assert [places(one) for one in found] == [places(one) for one in expected]
    assert sum(map(len, expected)) > 0


def test_the_tagger_row_is_the_tagger(folder: Path) -> None:
    row = pubner_tagger.load(checkpoint_shape(folder), device="cpu", threads=1, models=folder)
    tagger = load_tagger([folder], device="cpu", threads=1)
    assert row["tagger"](TEXTS) == [found.mentions for found in tagger.annotate(TEXTS)]


def test_single_heads_are_the_heads_of_the_checkpoint(folder: Path) -> None:
    import torch

    from benchmarks.weights import all_heads_model

    shape = checkpoint_shape(folder)
    ids = torch.arange(5, 17).reshape(2, 6)
    mask, case = torch.ones_like(ids), torch.zeros_like(ids)
    with torch.inference_mode():
        together = all_heads_model(shape)(ids, mask, case)
        for part, model in zip(shape.layout.slices, single_head_models(shape), strict=True):
            alone = model(input_ids=ids, attention_mask=mask, token_type_ids=case).logits
            torch.testing.assert_close(alone, together[..., part])
