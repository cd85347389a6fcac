"""BERT for inference over packed rows: no padding, one pass, all heads.

The network is that of Devlin et al. 2019, with weights named as in transformers; operations around
the matrix products are fused if the device supports it, and attention is planned per batch.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import embedding, layer_norm
from transformers import PretrainedConfig

from schemas.errors import CheckpointError
from worker.network.attention import (
    Bounds,
    Group,
    grouped_attention,
    has_varlen_attention,
    plan_bounds,
    plan_groups,
    varlen_attention,
)
from worker.network.family import NetworkOptions
from worker.network.linear import Activation, Linear
from worker.network.softmax import has_fused_softmax
from worker.network.transformers_family import TransformersFamily
from worker.text.packing import CPU_GRID, CUDA_GRID, PackedBatch, RowGrid, to_device
from worker.text.windows import round_up

_LOG: Final = logging.getLogger(__name__)
ACTIVATIONS: Final[Mapping[object, Activation]] = {
    "gelu": "gelu",
    "gelu_new": "gelu-tanh",
    "gelu_pytorch_tanh": "gelu-tanh",
}
"""The activations of encoders that the family supports, and what runs them."""


_Plan: TypeAlias = Bounds | Sequence[Group]


@dataclass(frozen=True, slots=True)
class _Norm:
    weight: Tensor
    bias: Tensor
    epsilon: float

    def __call__(self, rows: Tensor) -> Tensor:
        rows = rows.to(self.weight.dtype)
        return layer_norm(rows, self.weight.shape, self.weight, self.bias, self.epsilon)


@dataclass(frozen=True, slots=True)
class _Layer:
    attention_in: Linear
    attention_out: Linear
    attention_norm: _Norm
    widening: Linear
    narrowing: Linear
    output_norm: _Norm


class BertNetwork:
    """A BERT encoder with all heads, on its device.

    :param weights: the state dict of a `MultiHeadModel` around a BERT
    :param letter_case: whether the encoder reads letter-case classes as token types
    """

    def __init__(
        self,
        weights: Mapping[str, Tensor],
        config: PretrainedConfig,
        *,
        letter_case: bool,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        self._device, self._dtype, self._letter_case = device, dtype, letter_case
        self._heads = int(config.num_attention_heads)
        self._longest = int(config.max_position_embeddings)
        self._varlen = has_varlen_attention(device, dtype)
        self._fused_softmax = has_fused_softmax(device, dtype)
        self.grid: RowGrid = CUDA_GRID if self._varlen else CPU_GRID
        read = _Reader(weights, config, device, dtype)
        self._word_table = read.table("embeddings.word_embeddings")
        self._position_table = read.table("embeddings.position_embeddings")
        self._type_table = read.table("embeddings.token_type_embeddings")
        self._norm = read.norm("embeddings.LayerNorm")
        self._layers = [read.layer(number) for number in range(int(config.num_hidden_layers))]
        # The tag scores are not rounded to bf16: that costs nothing, and is more exact.
        exact = _Reader(weights, config, device, torch.float32)
        last = f"encoder.layer.{len(self._layers) - 1}.output.LayerNorm"
        self._layers[-1] = replace(self._layers[-1], output_norm=exact.norm(last))
        self._tags = exact.linear(weights["heads.weight"], weights["heads.bias"])
        # The function, not the bound method, which would create a reference cycle.
        self._compiled: Any = (
            torch.compile(BertNetwork.forward, dynamic=True) if self._varlen else None
        )
        self._compiles = False

    def __call__(self, batch: PackedBatch) -> Tensor:
        """Return the tag scores of the selected rows, shape (selected, tags), on the device."""
        case = batch.case if self._letter_case else np.zeros_like(batch.case)
        plan: _Plan
        if self._varlen:
            plan = plan_bounds(batch, self._device, self._longest)
        else:
            plan = plan_groups(
                batch, self._heads, self._device, self._dtype, fused_softmax=self._fused_softmax
            )
        # Padded to the grid with row 0, because each number of rows costs a kernel here, too.
        select = np.zeros(round_up(max(1, len(batch.select)), self.grid.batch), dtype=np.int64)
        select[: len(batch.select)] = batch.select
        arrays = (batch.ids, batch.positions, case, select)
        ids, positions, types, chosen = (to_device(array, self._device) for array in arrays)
        return self._run(ids, positions, types, chosen, plan)[: len(batch.select)]

    def _run(
        self, ids: Tensor, positions: Tensor, case: Tensor, select: Tensor, plan: _Plan
    ) -> Tensor:
        if self._compiled is not None:
            try:
                out: Tensor = self._compiled(self, ids, positions, case, select, plan)
                self._compiles = True
                return out
            except torch.OutOfMemoryError:
                raise
            except RuntimeError as error:
                if self._compiles:
                    raise
                # No compiler, or a failing one: run the same code uncompiled, slower.
                _LOG.warning("the encoder is not compiled: %s", str(error).partition("\n")[0])
                self._compiled = None
        return self.forward(ids, positions, case, select, plan)

    def forward(
        self,
        ids: Tensor,
        positions: Tensor,
        case: Tensor,
        select: Tensor,
        plan: _Plan,
    ) -> Tensor:
        """Score the rows `select`; `ids`, `positions` and `case` (token types) are (rows,)."""
        rows = embedding(ids, self._word_table)
        rows = self._norm(
            rows + embedding(case, self._type_table) + embedding(positions, self._position_table)
        )
        for number, layer in enumerate(self._layers):
            qkv = layer.attention_in(rows)
            if isinstance(plan, Bounds):
                read = varlen_attention(qkv, self._heads, plan)
            else:
                read = grouped_attention(qkv, self._heads, plan)
            if number == len(self._layers) - 1:  # of the last layer only these rows are used
                read, rows = read[select], rows[select]
            rows = layer.attention_norm(layer.attention_out(read, residual=rows))
            wide = layer.widening(rows)
            rows = layer.output_norm(layer.narrowing(wide, residual=rows))
        scores: Tensor = self._tags(rows)
        return scores


class _Reader:
    """Reads tensors from a state dict by their names in transformers."""

    def __init__(
        self,
        weights: Mapping[str, Tensor],
        config: PretrainedConfig,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        self._weights, self._config = weights, config
        self._device, self._dtype = device, dtype
        self._scale = (int(config.hidden_size) // int(config.num_attention_heads)) ** -0.5

    def table(self, name: str) -> Tensor:
        return self._get(f"{name}.weight").to(device=self._device, dtype=self._dtype)

    def norm(self, name: str) -> _Norm:
        weight, bias = self.table(name), self._get(f"{name}.bias")
        bias = bias.to(device=self._device, dtype=self._dtype)
        return _Norm(weight, bias, float(self._config.layer_norm_eps))

    def linear(self, weight: Tensor, bias: Tensor, activation: Activation = "none") -> Linear:
        return Linear(
            weight.float(),
            bias.float(),
            device=self._device,
            dtype=self._dtype,
            activation=activation,
        )

    def layer(self, number: int) -> _Layer:
        here = f"encoder.layer.{number}"
        own = f"{here}.attention.self"
        # Queries are scaled here, once, instead of at every product with the keys.
        scales = {"query": self._scale, "key": 1.0, "value": 1.0}
        weight, bias = (
            torch.cat([self._get(f"{own}.{part}.{kind}") * by for part, by in scales.items()])
            for kind in ("weight", "bias")
        )
        return _Layer(
            attention_in=self.linear(weight, bias),
            attention_out=self._named(f"{here}.attention.output.dense"),
            attention_norm=self.norm(f"{here}.attention.output.LayerNorm"),
            widening=self._named(
                f"{here}.intermediate.dense", ACTIVATIONS[self._config.hidden_act]
            ),
            narrowing=self._named(f"{here}.output.dense"),
            output_norm=self.norm(f"{here}.output.LayerNorm"),
        )

    def _named(self, name: str, activation: Activation = "none") -> Linear:
        return self.linear(self._get(f"{name}.weight"), self._get(f"{name}.bias"), activation)

    def _get(self, name: str) -> Tensor:
        return self._weights[f"encoder.{name}"].float()


class BertFamily(TransformersFamily):
    """Encoders that are plain BERTs, run over packed rows by `BertNetwork`."""

    name = "bert"

    def is_supported(self, config: PretrainedConfig) -> bool:
        """Whether `BertNetwork` supports an encoder of this configuration."""
        return (
            config.model_type == "bert"
            and getattr(config, "hidden_act", None) in ACTIVATIONS
            and getattr(config, "position_embedding_type", "absolute") == "absolute"
            and not getattr(config, "is_decoder", False)
        )

    def weight_shapes(self, config: PretrainedConfig, tags: int) -> dict[str, tuple[int, ...]]:
        """Return the name and shape of each weight, without building a network.

        :raises CheckpointError: if the attention heads do not divide the width.
        """
        hidden, wide = int(config.hidden_size), int(config.intermediate_size)
        heads = int(config.num_attention_heads)
        if heads < 1 or hidden % heads:
            raise CheckpointError(
                f"config.json gives {heads} attention heads for a width of {hidden}, expected a "
                "divisor of it; export the checkpoint again"
            )
        tables = {
            "word": int(config.vocab_size),
            "position": int(config.max_position_embeddings),
            "token_type": int(config.type_vocab_size),
        }
        shapes: dict[str, tuple[int, ...]] = {"heads.weight": (tags, hidden), "heads.bias": (tags,)}
        for name, rows in tables.items():
            shapes[f"encoder.embeddings.{name}_embeddings.weight"] = (rows, hidden)
        products = {
            "attention.self.query": (hidden, hidden),
            "attention.self.key": (hidden, hidden),
            "attention.self.value": (hidden, hidden),
            "attention.output.dense": (hidden, hidden),
            "intermediate.dense": (wide, hidden),
            "output.dense": (hidden, wide),
        }
        norms = ["encoder.embeddings.LayerNorm"]
        for number in range(int(config.num_hidden_layers)):
            layer = f"encoder.encoder.layer.{number}"
            for name, shape in products.items():
                shapes |= {f"{layer}.{name}.weight": shape, f"{layer}.{name}.bias": shape[:1]}
            norms += [f"{layer}.attention.output.LayerNorm", f"{layer}.output.LayerNorm"]
        for name in norms:
            shapes |= {f"{name}.weight": (hidden,), f"{name}.bias": (hidden,)}
        return shapes

    def network(
        self, weights: Mapping[str, Tensor], config: PretrainedConfig, options: NetworkOptions
    ) -> BertNetwork:
        """Return the network over packed rows; it may share memory with `weights`."""
        return BertNetwork(
            weights,
            config,
            letter_case=options.letter_case,
            device=options.device,
            dtype=options.dtype,
        )
