"""Parallel prefix scans of an associative operation, in logarithmic depth."""

from collections.abc import Callable

import torch
from torch import Tensor

Join = Callable[[Tensor, Tensor], Tensor]


def scan(items: Tensor, join: Join) -> Tensor:
    """Return the inclusive prefixes of `items`, joined from the left along the last axis.

    `join` takes the left and the right operands, batched along the last axis, and must be
    associative. It makes about twice as many joins as there are items, in 2 log2(items) rounds
    (Brent and Kung 1982).
    """
    if items.shape[-1] < 2:
        return items
    even, odd = items[..., 0::2], items[..., 1::2]
    pairs = scan(join(even[..., : odd.shape[-1]], odd), join)
    out = torch.empty_like(items)
    out[..., 0] = items[..., 0]
    out[..., 1::2] = pairs
    out[..., 2::2] = join(pairs[..., : even.shape[-1] - 1], even[..., 1:])
    return out


def join_sums(left: Tensor, right: Tensor) -> Tensor:
    """Multiply matrices (states, states, ..., items), then divide each by its largest entry."""
    product = left[:, 0, None] * right[0]
    for state in range(1, left.shape[1]):
        product += left[:, state, None] * right[state]
    return product / product.amax(dim=(0, 1))


def join_best(left: Tensor, right: Tensor) -> Tensor:
    """Multiply log matrices in the max-plus semiring; the largest entry of each result is 0."""
    product = left[:, 0, None] + right[0]
    for state in range(1, left.shape[1]):
        product = torch.maximum(product, left[:, state, None] + right[state])
    return product - product.amax(dim=(0, 1))


def join_maps(left: Tensor, right: Tensor) -> Tensor:
    """Compose maps from states to states, `left` first; shape (states, ..., items)."""
    return right.gather(0, left)
