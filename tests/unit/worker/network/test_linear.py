"""Linear layers: prepacked or plain, they give what the formula says."""

from typing import Any

import pytest
import torch
from torch.nn.functional import gelu, linear

from worker.network import linear as module
from worker.network.linear import Activation, Linear

CPU = torch.device("cpu")


def parts() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(3)
    weight = torch.randn(48, 32, generator=random) * 0.2
    rows = torch.randn(70, 32, generator=random)
    return weight, torch.randn(48, generator=random), rows, torch.randn(70, 48, generator=random)


@pytest.mark.parametrize("activation", ["none", "gelu", "gelu-tanh"])
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.bfloat16, 0.05)], ids=["fp32", "bf16"]
)
@pytest.mark.parametrize("prepacked", [True, False])
def test_it_is_the_product_with_bias_activation_and_residual(
    activation: Activation,
    dtype: torch.dtype,
    tolerance: float,
    prepacked: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if not prepacked:
        monkeypatch.setattr(module, "_prepack", lambda weight: None)
    weight, bias, rows, residual = parts()
    if prepacked and dtype is torch.bfloat16 and module._prepack(weight.to(dtype)) is None:
        pytest.skip("oneDNN has no bf16 products for this processor")
    layer = Linear(weight, bias, device=CPU, dtype=dtype, activation=activation)
    assert layer.prepacked is prepacked
    expected = linear(rows, weight, bias)
    torch.testing.assert_close(
        layer(rows.to(dtype), residual.to(dtype)).float(),
        expected + residual,
        atol=tolerance,
        rtol=tolerance,
    )
    if activation != "none":
        expected = gelu(expected, approximate="tanh" if activation == "gelu-tanh" else "none")
    torch.testing.assert_close(
        layer(rows.to(dtype)).float(), expected, atol=tolerance, rtol=tolerance
    )


@pytest.mark.parametrize("fault", ["missing", "another result"])
def test_where_the_fused_operator_fails_the_plain_product_is_taken(
    fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fused(*_: Any) -> torch.Tensor:
        if fault == "missing":
            raise AttributeError("_linear_pointwise")
        return torch.zeros(1, 48)

    monkeypatch.setattr(Linear, "_fused", fused)
    weight, bias, rows, _ = parts()
    layer = Linear(weight, bias, device=CPU, dtype=torch.float32)
    assert not layer.prepacked
    torch.testing.assert_close(layer(rows), linear(rows, weight, bias))
