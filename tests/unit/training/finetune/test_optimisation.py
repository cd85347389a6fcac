"""Who learns at which rate."""

from functools import partial

import pytest
import torch
from torch import nn

from tests.support.checkpoints import tiny_config
from training.finetune.optimisation import make_optimiser, set_rates
from worker.network.families import build_model
from worker.network.model import MultiHeadModel

make = partial(make_optimiser, learning_rate=1e-3, head_rate_factor=3.0, weight_decay=0.02)


@pytest.fixture(scope="module")
def model() -> MultiHeadModel:
    return build_model(tiny_config(layers=3), 6)


def settings_by_name(
    model: nn.Module, optimiser: torch.optim.Optimizer
) -> dict[str, tuple[float, float]]:
    """The full learning rate and weight decay of each parameter; each is in one group."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    found: dict[str, tuple[float, float]] = {}
    for group in optimiser.param_groups:
        for parameter in group["params"]:
            name = names.get(id(parameter), "extra")
            assert name not in found
            found[name] = (group["base_rate"], group["weight_decay"])
    return found


def test_each_layer_learns_at_a_share_of_the_rate_of_the_one_above(model: MultiHeadModel) -> None:
    found = settings_by_name(model, make(model, layer_decay=0.5))
    assert set(found) == {name for name, _ in model.named_parameters()}
    shares = {
        "heads.": 3.0,
        "encoder.encoder.layer.2.": 1.0,
        "encoder.encoder.layer.1.": 0.5,
        "encoder.encoder.layer.0.": 0.25,
        "encoder.embeddings.": 0.25,
    }
    for name, (rate, _) in found.items():
        (share,) = (share for begin, share in shares.items() if name.startswith(begin))
        assert rate == pytest.approx(1e-3 * share), name


def test_without_layer_decay_all_of_the_encoder_learns_alike(model: MultiHeadModel) -> None:
    found = settings_by_name(model, make(model))
    assert {rate for name, (rate, _) in found.items() if name.startswith("encoder.")} == {1e-3}


def test_biases_norms_and_head_weights_do_not_decay(model: MultiHeadModel) -> None:
    extra = nn.Parameter(torch.zeros(2))
    found = settings_by_name(model, make(model, extra=(extra,)))
    assert found.pop("extra") == pytest.approx((3e-3, 0.0))
    for name, (_, decay) in found.items():
        plain = name.endswith("bias") or "LayerNorm" in name
        assert decay == (0.0 if plain else 0.02), name


def test_a_factor_scales_every_rate_from_its_full_one(model: MultiHeadModel) -> None:
    optimiser = make(model, layer_decay=0.5)
    full = [group["base_rate"] for group in optimiser.param_groups]
    for factor in (0.5, 0.1):
        set_rates(optimiser, factor)
        rates = [group["lr"] for group in optimiser.param_groups]
        assert rates == pytest.approx([rate * factor for rate in full])
