"""The networks of training steps, by encoder family.

An encoder trains through its module over padded windows, unless its family has a faster network.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

import torch
from torch import Tensor, nn

from training.encoders.packed import PackedBert, can_pack
from training.encoders.rows import Rows
from worker.network.families import family_of
from worker.network.model import MultiHeadModel


class TrainingNetwork(Protocol):
    """A forward pass for training, which uses the parameters of the encoder's own module."""

    def states(self, rows: Rows, *, letter_case: bool, chosen: Tensor) -> Tensor:
        """Return the last hidden states of the rows `chosen`, (chosen, hidden)."""


def _packed_bert(model: nn.Module, device: torch.device, *, bf16: bool) -> PackedBert | None:
    return PackedBert(model) if can_pack(model, device, bf16=bf16) else None


FAST_NETWORKS: Final[Mapping[str, Callable[..., TrainingNetwork | None]]] = {"bert": _packed_bert}
"""The faster networks of built-in families; another family may have a method `training_network`."""


class PaddedTraining:
    """The module of an encoder over padded windows."""

    def __init__(self, model: MultiHeadModel, pad_id: int) -> None:
        self._model, self._pad_id = model, pad_id

    def states(self, rows: Rows, *, letter_case: bool, chosen: Tensor) -> Tensor:
        """Return the last hidden states of the rows `chosen`, (chosen, hidden)."""
        ids, mask, case, indices = rows.padded(self._pad_id)
        states = self._model.hidden(ids, mask, case if letter_case else None)
        return states.reshape(-1, states.shape[-1]).index_select(0, indices[chosen])


def fast_network(model: nn.Module, device: torch.device, *, bf16: bool) -> TrainingNetwork | None:
    """Return the faster network of the family of `model.encoder`, None if it has none here."""
    encoder: Any = model.encoder
    family = family_of(encoder.config)
    make = FAST_NETWORKS.get(family.name) or getattr(family, "training_network", None)
    return None if make is None else make(model, device, bf16=bf16)


def training_network(
    model: MultiHeadModel, pad_id: int, device: torch.device, *, bf16: bool
) -> TrainingNetwork:
    """Return the network that trains `model` on `device`."""
    return fast_network(model, device, bf16=bf16) or PaddedTraining(model, pad_id)
