"""Encoder families: what pubner needs to know about encoders of one kind, to check and run them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn
from transformers import PretrainedConfig

from schemas.errors import CheckpointError
from worker.network.model import MultiHeadModel
from worker.text.packing import PackedBatch, RowGrid


class Network(Protocol):
    """A loaded encoder with all heads: maps packed batches to tag scores."""

    grid: RowGrid

    def __call__(self, batch: PackedBatch) -> Tensor:
        """Return the tag scores of the selected rows, (selected, tags), float32, on the device."""


@dataclass(frozen=True, slots=True)
class NetworkOptions:
    """How a network runs: the padding piece, whether it reads letter case, device and precision."""

    pad_id: int
    letter_case: bool
    device: torch.device
    dtype: torch.dtype


class EncoderFamily(Protocol):
    """Encoders of one kind. `ModuleFamily` implements all but `is_supported` and `build`.

    Networks of training steps are in `training.encoders.training_network`.
    """

    name: str

    def is_supported(self, config: PretrainedConfig) -> bool:
        """Whether an encoder of this configuration belongs to the family."""

    def build(self, config: PretrainedConfig) -> nn.Module:
        """Return an encoder with random weights, without a pooler.

        It has the attribute `config`, and its `forward` takes `input_ids`, `attention_mask` and,
        with letter case, `token_type_ids`, each of shape (texts, pieces); `last_hidden_state` of
        what it returns has shape (texts, pieces, `config.hidden_size`).
        """

    def weight_shapes(self, config: PretrainedConfig, tags: int) -> Mapping[str, tuple[int, ...]]:
        """Return the name and shape of each weight in a checkpoint with `tags` tags in all.

        :raises CheckpointError: if the configuration contradicts itself.
        """

    def network(
        self, weights: Mapping[str, Tensor], config: PretrainedConfig, options: NetworkOptions
    ) -> Network:
        """Return the network for inference; `weights` are those of a `MultiHeadModel`."""


class ModuleFamily:
    """A family whose encoders run as PyTorch modules on padded batches."""

    name = ""

    def is_supported(self, config: PretrainedConfig) -> bool:
        """Whether an encoder of this configuration belongs to the family."""
        raise NotImplementedError

    def build(self, config: PretrainedConfig) -> nn.Module:
        """Return an encoder with random weights; see `EncoderFamily.build`."""
        raise NotImplementedError

    def weight_shapes(self, config: PretrainedConfig, tags: int) -> Mapping[str, tuple[int, ...]]:
        """Return the name and shape of each weight; no memory for the encoder is allocated."""
        with torch.device("meta"):
            model = MultiHeadModel(self.build(config), int(config.hidden_size), tags, 0.0)
        return {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}

    def network(
        self, weights: Mapping[str, Tensor], config: PretrainedConfig, options: NetworkOptions
    ) -> Network:
        """Return the module with these weights, over padded batches.

        :raises CheckpointError: if the weights do not fit the configuration.
        """
        from worker.network.padded import PaddedNetwork

        tags = len(weights["heads.weight"])
        model = MultiHeadModel(self.build(config), int(config.hidden_size), tags, 0.0)
        try:
            model.load_state_dict(weights)
        except RuntimeError as error:
            reason = str(error).splitlines()[1].strip() if "\n" in str(error) else str(error)
            raise CheckpointError(f"weights do not fit config.json: {reason}") from error
        return PaddedNetwork(model, options)
