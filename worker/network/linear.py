"""Linear layers for inference: on a CPU, with weights packed once in oneDNN's layout.

PyTorch repacks them at every call, and runs the activation and the residual as separate passes;
oneDNN fuses both into the product. The operators are those that PyTorch's compiler emits for a CPU
(`torch.ops.mkldnn`). They are not a public interface: if one is missing or gives a different
result, the plain product is used.
"""

from typing import Any, Final, Literal

import torch
from torch import Tensor
from torch.nn import functional

Activation = Literal["none", "gelu", "gelu-tanh"]

_ALGORITHM: Final = {"none": ("none", ""), "gelu": ("gelu", "none"), "gelu-tanh": ("gelu", "tanh")}
_EXPECTED_ROWS: Final = 1536
_TOLERANCE: Final = 0.05


class Linear:
    """`activation(x @ weight.T + bias)`, or with a residual `x @ weight.T + bias + residual`.

    :param weight: shape (outputs, inputs), float32
    :param bias: shape (outputs,), float32
    """

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor,
        *,
        device: torch.device,
        dtype: torch.dtype,
        activation: Activation = "none",
    ) -> None:
        self._activation = activation
        self._bias = bias.to(device=device, dtype=dtype)
        self._weight = weight.to(device=device, dtype=dtype).contiguous()
        self.prepacked = False
        if device.type == "cpu":
            packed = _prepack(self._weight)
            if packed is not None and self._agrees(packed):
                self._weight = packed
                self.prepacked = True

    def __call__(self, rows: Tensor, residual: Tensor | None = None) -> Tensor:
        """Return shape (rows, outputs) from `rows` of shape (rows, inputs), `residual` added."""
        if self.prepacked:
            return self._fused(self._weight, rows, residual)
        return self._plain(rows, residual)

    def _plain(self, rows: Tensor, residual: Tensor | None) -> Tensor:
        out = functional.linear(rows, self._weight, self._bias)
        if residual is not None:
            return out + residual
        if self._activation == "none":
            return out
        return functional.gelu(out, approximate=_ALGORITHM[self._activation][1])

    def _fused(self, weight: Tensor, rows: Tensor, residual: Tensor | None) -> Tensor:
        operator: Any = torch.ops.mkldnn._linear_pointwise
        out: Tensor
        if residual is not None:
            out = operator.binary(rows, residual, weight, self._bias, "add")
        else:
            name, algorithm = _ALGORITHM[self._activation]
            out = operator(rows, weight, self._bias, name, [], algorithm)
        return out

    def _agrees(self, packed: Tensor) -> bool:
        """Whether the fused operators exist and agree with the plain product."""
        rows = torch.linspace(-1, 1, self._weight.shape[1], dtype=self._weight.dtype)[None]
        residual = torch.ones(1, self._weight.shape[0], dtype=rows.dtype)
        try:
            pairs = [
                (self._fused(packed, rows, given), self._plain(rows, given))
                for given in (None, residual)
            ]
        except (AttributeError, RuntimeError, TypeError):
            return False
        return all(
            torch.allclose(a.float(), b.float(), rtol=_TOLERANCE, atol=_TOLERANCE) for a, b in pairs
        )


def _prepack(weight: Tensor) -> Tensor | None:
    if not torch.backends.mkldnn.is_available() or weight.dtype not in (
        torch.float32,
        torch.bfloat16,
    ):
        return None
    try:
        packed: Tensor = torch.ops.mkldnn._reorder_linear_weight(weight, _EXPECTED_ROWS)
    except (AttributeError, RuntimeError):
        return None
    return packed
