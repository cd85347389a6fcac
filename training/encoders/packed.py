"""The forward pass of training steps: the BERT of a `MultiHeadModel` over packed rows.

It uses the model's own parameters, so gradients, names and saved states are those of the model. It
has no padding, and computes the last layer only for the rows whose tags are scored. On a CPU, in
fp32, attention runs in groups of windows of equal length as plain matrix products (the backward
pass of PyTorch's fused attention is several times slower there), and dropout draws 16 random bits
an element instead of a Bernoulli sample. On a GPU one variable-length kernel handles all windows.
Except for which elements are dropped, results equal the model's up to rounding.
"""

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any, Final, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding, gelu, layer_norm, linear, scaled_dot_product_attention

from training.encoders.rows import Rows
from worker.network.attention import has_varlen_attention
from worker.network.bert import ACTIVATIONS, BertFamily

_LONGEST_BY_PRODUCTS: Final = 256
"""The longest window computed by plain products; longer ones, whose attention scores do not fit the
cache, use PyTorch's fused attention."""

_SCORES: Final = 1 << 19
"""The most attention scores computed at once (2 MiB), unless a single window has more."""

_APPROXIMATIONS: Final = {"gelu": "none", "gelu-tanh": "tanh"}
_STEPS: Final = 1 << 16


class PackedBert:
    """A packed forward pass of `model.encoder`, for models that `can_pack` accepts."""

    def __init__(self, model: nn.Module) -> None:
        self._model = model

    def states(self, rows: Rows, *, letter_case: bool, chosen: Tensor) -> Tensor:
        """Return the last hidden states of the rows `chosen`, (chosen, hidden).

        It is fastest where windows of equal length are neighbours.
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
            low = _to_matmul_type(states)
            read = attend(
                _linear(low, own.query),
                _linear(low, own.key),
                _linear(low, own.value),
                heads,
                rows,
                _probability(own.dropout),
            )
            if number == last:  # only these rows of the last layer are scored
                read, states = read[chosen], states[chosen]
            out = layer.attention.output
            states = _norm(_drop(_linear(read, out.dense), out.dropout) + states, out.LayerNorm)
            wide = gelu(
                _linear(states, layer.intermediate.dense),
                approximate=_APPROXIMATIONS[ACTIVATIONS[config.hidden_act]],
            )
            narrow = _drop(_linear(wide, layer.output.dense), layer.output.dropout)
            states = _norm(narrow + states, layer.output.LayerNorm)
        return states


def can_pack(model: nn.Module, device: torch.device, *, bf16: bool) -> bool:
    """Whether `PackedBert` supports `model`, and is faster on `device`.

    On a GPU it needs bf16 and no attention dropout, which the variable-length kernel lacks.
    """
    config: Any = getattr(model.encoder, "config", None)
    on_gpu = (
        has_varlen_attention(device, torch.bfloat16 if bf16 else torch.float32)
        and getattr(config, "attention_probs_dropout_prob", 0.0) == 0.0
    )
    runs = on_gpu or (device.type == "cpu" and not bf16)
    return runs and config is not None and BertFamily().is_supported(config)


def attend(
    queries: Tensor, keys: Tensor, values: Tensor, heads: int, rows: Rows, dropout: float = 0.0
) -> Tensor:
    """Compute self-attention within each window; all tensors have shape (rows, hidden).

    :param dropout: dropout probability of attention scores; 0 on a GPU
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
    """Yield runs of equally long windows as (length, windows), each within `_SCORES`."""
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


def _to_matmul_type(states: Tensor) -> Tensor:
    """Return states in autocast's matmul type, cast once for several products."""
    kind = states.device.type
    return states.to(torch.get_autocast_dtype(kind)) if torch.is_autocast_enabled(kind) else states


def _look_up(ids: Tensor, module: nn.Embedding) -> Tensor:
    return embedding(ids, module.weight, module.padding_idx)


def _linear(rows: Tensor, module: nn.Linear) -> Tensor:
    return linear(rows, module.weight, module.bias)


def _norm(rows: Tensor, module: nn.LayerNorm) -> Tensor:
    return layer_norm(rows, list(module.normalized_shape), module.weight, module.bias, module.eps)
