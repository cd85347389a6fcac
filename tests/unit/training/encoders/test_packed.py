from itertools import accumulate
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import BertConfig

from training.encoders.packed import PackedBert, can_pack, drop
from training.encoders.rows import Rows
from worker.network.families import build_model
from worker.network.model import MultiHeadModel

CPU = torch.device("cpu")


def make_model(activation: str = "gelu") -> MultiHeadModel:
    torch.manual_seed(1)
    config = BertConfig(
        vocab_size=50,
        hidden_size=24,
        num_hidden_layers=3,
        num_attention_heads=3,
        intermediate_size=40,
        max_position_embeddings=300,
        type_vocab_size=4,
        initializer_range=0.3,
        hidden_act=activation,
    )
    return build_model(config, 7, dropout=0.1)


def make_rows(lengths: list[int]) -> tuple[Rows, Tensor]:
    """Return random windows, and the rows that are scored."""
    size = sum(lengths)
    bounds = torch.tensor([0, *accumulate(lengths)], dtype=torch.int32)
    positions = torch.cat([torch.arange(length) for length in lengths])
    rows = Rows(
        torch.randint(0, 50, (size,)), positions, torch.randint(0, 4, (size,)), bounds,
        tuple(lengths),
    )  # fmt: skip
    return rows, (torch.rand(size) < 0.6).nonzero().squeeze(1)


def packed_logits(model: MultiHeadModel, rows: Rows, chosen: Tensor, *, cased: bool) -> Tensor:
    states = PackedBert(model).states(rows, letter_case=cased, chosen=chosen)
    logits: Tensor = model.heads(states)
    return logits


def padded_logits(model: MultiHeadModel, rows: Rows, chosen: Tensor, *, cased: bool) -> Tensor:
    ids, mask, case, places = rows.padded(0)
    states = model.hidden(ids, mask, case if cased else None)
    logits: Tensor = model.heads(states.flatten(0, 1)[places[chosen]])
    return logits


@pytest.mark.parametrize("activation", ["gelu", "gelu_new"])
@pytest.mark.parametrize("lengths", [[5], [9, 7, 7, 2], [2, 9, 2], [270, 270, 40]])
@pytest.mark.parametrize("cased", [True, False])
def test_outputs_and_gradients_are_those_of_the_model(
    lengths: list[int], cased: bool, activation: str
) -> None:
    model = make_model(activation).eval()
    rows, chosen = make_rows(lengths)
    weights = torch.randn(len(chosen), 7)
    found = []
    for network in (padded_logits, packed_logits):
        logits = network(model, rows, chosen, cased=cased)
        (logits * weights).sum().backward()
        gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
        found.append((logits, gradients))
        model.zero_grad()
    (expected, gradients), (logits, own) = found
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-5)
    assert own.keys() == gradients.keys()
    largest = max(float(gradient.abs().max()) for gradient in gradients.values())
    for name, gradient in gradients.items():
        torch.testing.assert_close(own[name], gradient, rtol=1e-3, atol=1e-5 * largest)


def test_dropout_follows_the_modules_and_the_seed() -> None:
    model = make_model().train()
    rows, chosen = make_rows([9, 7, 7])
    torch.manual_seed(3)
    first = packed_logits(model, rows, chosen, cased=True)
    second = packed_logits(model, rows, chosen, cased=True)
    torch.manual_seed(3)
    assert torch.equal(packed_logits(model, rows, chosen, cased=True), first)
    assert not torch.equal(first, second)
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    dropless = packed_logits(model, rows, chosen, cased=True)
    expected = padded_logits(model.eval(), rows, chosen, cased=True)
    torch.testing.assert_close(dropless, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("probability", [0.1, 0.5, 0.9])
def test_dropout_drops_its_share_and_scales_the_rest(probability: float) -> None:
    torch.manual_seed(2)
    rows = torch.ones(1001, 301, requires_grad=True)
    out = drop(rows, probability)
    share = float((out == 0).float().mean())
    assert share == pytest.approx(probability, abs=0.004)
    assert float(out.detach().mean()) == pytest.approx(1.0, abs=0.02)
    out.sum().backward()
    assert rows.grad is not None
    assert torch.equal(rows.grad, out.detach())
    # Neither rows nor columns are dropped together.
    assert float((out == 0).float().mean(0).std()) < 0.03
    assert float((out == 0).float().mean(1).std()) < 0.05
    assert drop(rows, 0.0) is rows


def test_only_a_plain_bert_is_packed_and_on_a_cpu_only_in_fp32() -> None:
    assert can_pack(make_model(), CPU, bf16=False)
    assert not can_pack(make_model(), CPU, bf16=True)
    assert not can_pack(make_model(), torch.device("cuda"), bf16=False)
    assert not can_pack(make_model("relu"), CPU, bf16=False)
    assert not can_pack(MultiHeadModel(torch.nn.Identity(), 8, 3, 0.0), CPU, bf16=False)
    attention_dropout = make_model()
    config: Any = attention_dropout.encoder.config
    config.attention_probs_dropout_prob = 0.1
    assert not can_pack(attention_dropout, torch.device("cuda"), bf16=True)
