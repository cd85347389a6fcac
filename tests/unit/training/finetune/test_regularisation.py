"""Averaged weights and attacks on the embeddings: exact, and undone without a trace."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from tests.support.checkpoints import tiny_config
from training.finetune.regularisation import AveragedWeights, perturbed_embeddings
from worker.network.families import build_model
from worker.network.model import MultiHeadModel


@pytest.fixture
def model() -> MultiHeadModel:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return build_model(tiny_config(layers=1), 6)


def walk(model: nn.Module, generator: torch.Generator) -> None:
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator))


def test_the_average_is_that_of_a_plain_loop(model: MultiHeadModel) -> None:
    generator = torch.Generator().manual_seed(2)
    average = AveragedWeights(model, 0.4)
    expected = {name: value.detach().double().numpy() for name, value in model.named_parameters()}
    for step in range(12):
        walk(model, generator)
        average.update(step)
        decay = min(0.4, (1 + step) / (10 + step))
        for name, value in model.named_parameters():
            now = value.detach().double().numpy()
            expected[name] = decay * expected[name] + (1 - decay) * now
    assert set(expected) == set(average.tensors)
    for name, plain in expected.items():
        np.testing.assert_allclose(average.tensors[name].numpy(), plain, rtol=1e-4, atol=1e-5)


def test_the_model_has_the_average_within_the_block_and_its_own_weights_behind_it(
    model: MultiHeadModel,
) -> None:
    average = AveragedWeights(model, 0.9)
    walk(model, torch.Generator().manual_seed(3))
    average.update(0)
    own = copy.deepcopy(model.state_dict())
    with average.applied():
        for name, tensor in model.state_dict().items():
            if name in average.tensors:
                assert torch.equal(tensor, average.tensors[name])
        assert not torch.equal(model.heads.weight, own["heads.weight"])
    with pytest.raises(RuntimeError, match="scoring failed"), average.applied():
        raise RuntimeError("scoring failed")
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, own[name]), name


def test_a_saved_average_goes_on_to_the_bit(model: MultiHeadModel) -> None:
    average = AveragedWeights(model, 0.9)
    walk(model, torch.Generator().manual_seed(4))
    average.update(0)
    saved = {name: tensor.clone() for name, tensor in average.tensors.items()}
    other = copy.deepcopy(model)
    restored = AveragedWeights(other, 0.9)
    restored.load(saved)
    for both in (model, other):
        walk(both, torch.Generator().manual_seed(5))
    average.update(1)
    restored.update(1)
    for name, tensor in average.tensors.items():
        assert torch.equal(tensor, restored.tensors[name]), name


def test_an_attack_goes_its_length_up_the_loss_and_leaves_no_trace() -> None:
    generator = torch.Generator().manual_seed(6)
    table = nn.Parameter(torch.randn((20, 8), generator=generator))
    ids = torch.tensor([3, 3, 7, 19])
    aim = torch.randn((4, 8), generator=generator)

    def loss() -> torch.Tensor:
        return (table[ids] * aim).sum()

    with pytest.raises(ValueError, match="call backward first"), perturbed_embeddings(table, 0.5):
        pass
    before = loss()
    before.backward()
    assert table.grad is not None
    kept, direction = table.detach().clone(), table.grad.clone()
    with perturbed_embeddings(table, 0.5):
        moved = table.detach() - kept
        assert float(moved.norm()) == pytest.approx(0.5, rel=1e-4)
        cosine = torch.nn.functional.cosine_similarity(moved.ravel(), direction.ravel(), dim=0)
        assert float(cosine) == pytest.approx(1.0, rel=1e-4)
        assert not moved[[0, 1, 2, 4]].any(), "what the batch does not have stays"
        after = loss()
        # Linear in the table: the loss rises by the gradient's length times the step's.
        rise = float(after.detach() - before.detach())
        assert rise == pytest.approx(0.5 * float(direction.norm()), rel=1e-3)
        after.backward()
    assert torch.equal(table.detach(), kept)
    torch.testing.assert_close(table.grad, 2 * direction, msg="both gradients are taken together")
    with pytest.raises(RuntimeError, match="out of memory"), perturbed_embeddings(table, 9.0):
        raise RuntimeError("out of memory")
    assert torch.equal(table.detach(), kept)


def test_a_gradient_of_nothing_attacks_nothing() -> None:
    table = nn.Parameter(torch.ones(3, 2))
    table.grad = torch.zeros(3, 2)
    with perturbed_embeddings(table, 1.0):
        assert torch.equal(table.detach(), torch.ones(3, 2))
