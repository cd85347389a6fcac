"""Softmax and weighted sum of values for attention on a CPU, with oneDNN's softmax if available.

oneDNN's softmax takes two thirds of the time of PyTorch's own, and its time does not depend on
whether rows are whole vectors. PyTorch exposes it only through opaque tensors, whose memory is a
plain array here; it is accessed in place, through the operator that PyTorch's compiler emits for
that (`torch.ops.mkldnn.data_ptr`). If that is missing or gives a different result, PyTorch's
softmax is used.
"""

import ctypes
from math import prod
from typing import Any, Final

import torch
from torch import Tensor

_TOLERANCE: Final = 0.01


class Scratch:
    """Memory for the scores of one step, of one shape; used by one thread at a time.

    :param shape: (heads, queries, keys)
    :param fused: the result of `has_fused_softmax`
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        device: torch.device,
        dtype: torch.dtype,
        *,
        fused: bool,
    ) -> None:
        self.scores = torch.empty(shape, device=device, dtype=dtype)
        self._opaque = self.scores.to_mkldnn() if fused else None
        if self._opaque is not None:
            self.scores = _memory_of(self._opaque, self.scores)

    def weigh(self, values: Tensor, out: Tensor) -> None:
        """Write `softmax(scores) @ values` to `out`; `scores` are undefined afterwards.

        :param values: shape (heads, keys, width)
        :param out: shape (heads, queries, width)
        """
        if self._opaque is None:
            torch.softmax(self.scores, dim=-1, out=self.scores)
            torch.bmm(self.scores, values, out=out)
            return
        weights = torch.softmax(self._opaque, -1)
        # `weights` owns the memory, so it must live until the product is done.
        torch.bmm(_memory_of(weights, self.scores), values, out=out)


def has_fused_softmax(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether oneDNN's softmax is available on the device and agrees with PyTorch's."""
    if device.type != "cpu" or not torch.backends.mkldnn.is_available():
        return False
    return all(_agrees(shape, dtype) for shape in ((1, 1, 1), (3, 16, 16), (2, 48, 80)))


def _agrees(shape: tuple[int, int, int], dtype: torch.dtype) -> bool:
    scores = torch.linspace(-4, 4, prod(shape)).view(shape).to(dtype)
    scores[:, :, shape[2] // 2 + 1 :] = -torch.inf
    try:
        opaque = torch.softmax(scores.to_mkldnn(), -1)
        size: int = torch.ops.mkldnn._nbytes(opaque)
        if size != scores.nbytes:
            return False
        found = _memory_of(opaque, scores).clone()
    except (AttributeError, RuntimeError, TypeError):
        return False
    expected = torch.softmax(scores.float(), -1)
    return torch.allclose(found.float(), expected, rtol=_TOLERANCE, atol=_TOLERANCE**2)


def _memory_of(opaque: Tensor, like: Tensor) -> Tensor:
    """Return the memory of an opaque tensor as a tensor of the shape and type of `like`."""
    address: Any = torch.ops.mkldnn.data_ptr(opaque)
    memory = (ctypes.c_uint8 * like.nbytes).from_address(address)
    return torch.frombuffer(memory, dtype=like.dtype).view(like.shape)
