"""Regularisation against overfitting: averaged weights, and adversarial training (FGM)."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class AveragedWeights:
    """An exponential moving average of a model's weights (Polyak and Juditsky 1992).

    The decay at step n is min(decay, (1 + n) / (10 + n)), so that the first steps have little
    weight in the average.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self._decay = decay
        self._own = dict(_floats(model))
        self.tensors = {name: tensor.clone() for name, tensor in self._own.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Add the weights after step number `step`, counted from 0, to the average."""
        decay = min(self._decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(  # one call for all tensors; the public functions take one tensor each
            list(self.tensors.values()), list(self._own.values()), 1 - decay
        )

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Load a saved average."""
        for name, tensor in self.tensors.items():
            tensor.copy_(tensors[name])

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Give the model the averaged weights within the `with` block."""
        kept = {name: tensor.clone() for name, tensor in self._own.items()}
        with torch.no_grad():
            for name, tensor in self._own.items():
                tensor.copy_(self.tensors[name])
        try:
            yield
        finally:
            with torch.no_grad():
                for name, tensor in self._own.items():
                    tensor.copy_(kept[name])


def _floats(model: nn.Module) -> Iterable[tuple[str, Tensor]]:
    for name, tensor in model.state_dict(keep_vars=True).items():
        if tensor.is_floating_point():
            yield name, tensor.detach()


@contextmanager
def perturbed_embeddings(table: nn.Parameter, length: float) -> Iterator[None]:
    """Apply an adversarial perturbation of norm `length` to an embedding table within the block.

    The fast gradient method (FGM; Miyato et al. 2017, "Adversarial Training Methods for
    Semi-Supervised Text Classification") in the form common for taggers: one step of the whole
    table in the direction of its gradient.
    """
    if table.grad is None:
        raise ValueError("the table has no gradient yet: call backward first")
    with torch.no_grad():
        kept = table.detach().clone()
        table.add_(table.grad * (length / table.grad.norm().clamp_min(1e-12)))
    try:
        yield
    finally:
        with torch.no_grad():
            table.copy_(kept)
