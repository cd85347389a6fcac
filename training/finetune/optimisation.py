"""AdamW with layer-wise learning-rate decay, and the learning-rate schedule."""

import re

import torch
from torch import nn

_LAYER = re.compile(r"encoder\.(?:encoder\.)?layer\.(\d+)\.")


def make_optimiser(
    model: nn.Module,
    *,
    learning_rate: float,
    weight_decay: float,
    layer_decay: float = 1.0,
    head_rate_factor: float = 1.0,
    extra: tuple[nn.Parameter, ...] = (),
) -> torch.optim.AdamW:
    """Return AdamW (Loshchilov and Hutter 2019) without weight decay on biases and layer norms.

    Each layer's learning rate is `layer_decay` times that of the layer above it; the embeddings use
    the rate of the lowest layer (discriminative fine-tuning, Howard and Ruder 2018). The heads, and
    the `extra` parameters, which have no weight decay, use `head_rate_factor` times the full rate.
    """
    names = [name for name, _ in model.named_parameters()]
    layers = 1 + max((_layer(name) for name in names), default=-1)
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        is_head = name.startswith("heads.")
        factor = head_rate_factor if is_head else _rate_factor(name, layers, layer_decay)
        groups.setdefault((factor, parameter.dim() > 1), []).append(parameter)
    if extra:
        groups.setdefault((head_rate_factor, False), []).extend(extra)
    return torch.optim.AdamW(
        [
            {
                "params": parameters,
                "base_rate": learning_rate * factor,
                "weight_decay": weight_decay if matrix else 0.0,
            }
            for (factor, matrix), parameters in groups.items()
        ],
        lr=learning_rate,
        fused=True,
    )


def _layer(name: str) -> int:
    """Return the number of the encoder layer a parameter belongs to, -1 for the embeddings."""
    found = _LAYER.search(name)
    return int(found.group(1)) if found else -1


def _rate_factor(name: str, layers: int, layer_decay: float) -> float:
    return float(layer_decay ** (layers - 1 - max(0, _layer(name))))


def set_rates(optimiser: torch.optim.Optimizer, factor: float) -> None:
    """Set the learning rate of every group to `factor` times its full rate."""
    for group in optimiser.param_groups:
        group["lr"] = group["base_rate"] * factor


def rate_factor(step: float, total: float, warmup: float) -> float:
    """Return the schedule's factor at `step` of `total`: linear warm-up, then linear decay to 0."""
    rising = warmup * total
    if step < rising:
        return (step + 1) / max(rising, 1.0)
    return max(0.0, (total - step) / max(1.0, total - rising))
