"""Prefix scans of an associative operation in logarithmic depth, as tensor operations alone."""

from collections.abc import Callable

import torch
from torch import Tensor

Join = Callable[[Tensor, Tensor], Tensor]


def scan(items: Tensor, join: Join) -> Tensor:
    """Return the inclusive prefixes of `items`, joined from the left along the last axis.

    `join` takes the left and the right operands, any number of them side by side on the last axis,
    and must be associative. About twice as many joins as items are made, in twice log2 as many
    rounds (Brent and Kung 1982).
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
    """Multiply matrices of logarithms, the largest term for the sum; the largest entry is 0."""
    product = left[:, 0, None] + right[0]
    for state in range(1, left.shape[1]):
        product = torch.maximum(product, left[:, state, None] + right[state])
    return product - product.amax(dim=(0, 1))


def join_maps(left: Tensor, right: Tensor) -> Tensor:
    """Apply first `left`, then `right`: maps from states to states, (states, ..., items)."""
    return right.gather(0, left)
