"""What keeps a small corpus from being learned by heart: averaged weights, and attacks."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class AveragedWeights:
    """An exponential moving average of a model's weights (Polyak and Juditsky 1992).

    The decay rises with the steps to `decay`, min(decay, (1 + n) / (10 + n)), so that the first
    steps do not weigh on it.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self._decay = decay
        self._own = dict(_floats(model))
        self.tensors = {name: tensor.clone() for name, tensor in self._own.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take the weights in as they stand behind step number `step`, from 0."""
        decay = min(self._decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(  # one call for all tensors; the public ones take one
            list(self.tensors.values()), list(self._own.values()), 1 - decay
        )

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Put an average back that was saved."""
        for name, tensor in self.tensors.items():
            tensor.copy_(tensors[name])

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Let the model have the averaged weights within the block."""
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
def attacked(table: nn.Parameter, length: float) -> Iterator[None]:
    """Move an embedding table along its gradient, `length` far, within the block (FGM).

    Miyato et al. 2017, "Adversarial Training Methods for Semi-Supervised Text Classification", in
    the form common for taggers: one step for the whole table, in the gradient's direction.
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
