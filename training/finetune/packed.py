"""The training step's network: the BERT of a `MultiHeadModel` over packed rows.

It reads the model's own parameters, so gradients, names and saved states are those of the model; it
leaves out padding, and computes of the last layer only the rows whose tags are scored. On a CPU, in
fp32, it attends in groups of windows of one length with plain products (the backward pass of
PyTorch's fused attention is several times slower there), and draws what is dropped 16 random bits
an element instead of a whole Bernoulli draw. On a GPU one kernel attends in all windows. Apart from
which elements are dropped, results are the model's up to rounding.
"""

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any, Final, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding, gelu, layer_norm, linear, scaled_dot_product_attention

from training.data.batches import Rows
from worker.network.attention import has_varlen_attention

_LONGEST_BY_PRODUCTS: Final = 256
"""Longer windows go to PyTorch's fused attention: their scores no longer fit the cache."""

_SCORES: Final = 1 << 19
"""Scores computed at one time, 2 MiB, unless one window has more."""

_ACTIVATIONS: Final = {"gelu": "none", "gelu_new": "tanh", "gelu_pytorch_tanh": "tanh"}
_STEPS: Final = 1 << 16


class PackedBert:
    """Gives what the encoder of a model gives (its attribute `encoder`), if `can_pack` allows."""

    def __init__(self, model: nn.Module) -> None:
        self._model = model

    def states(self, rows: Rows, *, letter_case: bool, chosen: Tensor) -> Tensor:
        """Return the last hidden states of the rows `chosen`, (chosen, hidden).

        Windows of one length are best neighbours.
        """
        model: Any = self._model
        encoder, config = model.encoder, model.encoder.config
        heads = config.num_attention_heads
        tables = encoder.embeddings
        types = rows.case if letter_case else torch.zeros_like(rows.case)
        states = _look_up(rows.ids, tables.word_embeddings)
        states = states + _look_up(types, tables.token_type_embeddings)
        states = states + _look_up(rows.positions, tables.position_embeddings)
        states = _drop(_norm(states, tables.LayerNorm), tables.dropout)
        last = len(encoder.encoder.layer) - 1
        for number, layer in enumerate(encoder.encoder.layer):
            own = layer.attention.self
            low = _low(states)
            read = attend(
                _linear(low, own.query),
                _linear(low, own.key),
                _linear(low, own.value),
                heads,
                rows,
                _probability(own.dropout),
            )
            if number == last:  # of the last layer only these are scored
                read, states = read[chosen], states[chosen]
            out = layer.attention.output
            states = _norm(_drop(_linear(read, out.dense), out.dropout) + states, out.LayerNorm)
            wide = gelu(
                _linear(states, layer.intermediate.dense),
                approximate=_ACTIVATIONS[config.hidden_act],
            )
            narrow = _drop(_linear(wide, layer.output.dense), layer.output.dropout)
            states = _norm(narrow + states, layer.output.LayerNorm)
        return states


def can_pack(model: nn.Module, device: torch.device, *, bf16: bool) -> bool:
    """Whether `PackedBert` computes what `model` does, and pays on `device`.

    On a GPU it needs bf16, and no dropout within attention: the kernel for rows knows none.
    """
    config: Any = getattr(model.encoder, "config", None)
    on_gpu = (
        has_varlen_attention(device, torch.bfloat16 if bf16 else torch.float32)
        and getattr(config, "attention_probs_dropout_prob", 0.0) == 0.0
    )
    return (
        (on_gpu or (device.type == "cpu" and not bf16))
        and getattr(config, "model_type", None) == "bert"
        and getattr(config, "hidden_act", None) in _ACTIVATIONS
        and getattr(config, "position_embedding_type", "absolute") == "absolute"
        and not getattr(config, "is_decoder", False)
    )


def attend(
    queries: Tensor, keys: Tensor, values: Tensor, heads: int, rows: Rows, dropout: float = 0.0
) -> Tensor:
    """Attend within each window; all tensors have shape (rows, hidden).

    :param dropout: probability of a score to be dropped; 0 on a GPU
    """
    hidden = queries.shape[1]
    if queries.device.type == "cuda":
        from torch.nn.attention.varlen import varlen_attn

        longest = max(rows.lengths)
        split = (-1, heads, hidden // heads)
        read: Any = varlen_attn(
            queries.view(split),
            keys.view(split),
            values.view(split),
            rows.bounds,
            rows.bounds,
            longest,
            longest,
        )
        return cast("Tensor", read.reshape(-1, hidden))
    counts = list(_runs(rows.lengths, heads))
    cuts = [length * count for length, count in counts]
    found = []
    for (length, count), *parts in zip(
        counts, *(part.split(cuts) for part in (queries, keys, values)), strict=True
    ):
        shape = (count, length, heads, hidden // heads)
        query, key, value = (part.view(shape).transpose(1, 2) for part in parts)
        if length > _LONGEST_BY_PRODUCTS and not dropout:
            out = scaled_dot_product_attention(query, key, value)
        else:
            scores = torch.matmul(query * shape[3] ** -0.5, key.transpose(2, 3))
            out = torch.matmul(drop(torch.softmax(scores, -1), dropout), value)
        found.append(out.transpose(1, 2).reshape(-1, hidden))
    return torch.cat(found)


def _runs(lengths: Sequence[int], heads: int) -> Iterator[tuple[int, int]]:
    """Yield runs of one length as (length, windows), none with more scores than `_SCORES`."""
    for length, alike in groupby(lengths):
        count = sum(1 for _ in alike)
        most = max(1, _SCORES // (heads * length * length))
        for begin in range(0, count, most):
            yield length, min(most, count - begin)


def drop(rows: Tensor, probability: float) -> Tensor:
    """Dropout (Srivastava et al. 2014), with the probability rounded to 1 / 65,536."""
    cut = round(probability * _STEPS)
    if not cut:
        return rows
    if rows.device.type != "cpu":
        return torch.nn.functional.dropout(rows, probability)
    # Four elements from each 64 random bits of PyTorch's generator.
    bits = torch.empty((rows.numel() + 3) // 4, dtype=torch.int64, device=rows.device)
    bits.random_(-(1 << 63), None)
    kept = bits.view(torch.int16)[: rows.numel()].view(rows.shape) >= cut - _STEPS // 2
    return rows * kept * (_STEPS / (_STEPS - cut))


def _probability(module: nn.Dropout) -> float:
    return module.p if module.training else 0.0


def _drop(rows: Tensor, module: nn.Dropout) -> Tensor:
    return drop(rows, _probability(module))


def _low(states: Tensor) -> Tensor:
    """Return states as autocast multiplies them, cast once for several products."""
    kind = states.device.type
    return states.to(torch.get_autocast_dtype(kind)) if torch.is_autocast_enabled(kind) else states


def _look_up(ids: Tensor, module: nn.Embedding) -> Tensor:
    return embedding(ids, module.weight, module.padding_idx)


def _linear(rows: Tensor, module: nn.Linear) -> Tensor:
    return linear(rows, module.weight, module.bias)


def _norm(rows: Tensor, module: nn.LayerNorm) -> Tensor:
    return layer_norm(rows, list(module.normalized_shape), module.weight, module.bias, module.eps)
