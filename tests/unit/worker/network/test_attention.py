"""Attention over packed rows: each window attends to itself, whatever stands beside it."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from tests.unit.worker.text.test_packing import pack, pieces_of
from worker.network import softmax
from worker.network.attention import grouped_attention, plan_bounds, plan_groups
from worker.network.softmax import Scratch, has_fused_softmax
from worker.text.packing import CPU_GRID, FREE, PackedBatch, RowGrid
from worker.text.windows import PieceWindow

CPU = torch.device("cpu")
HEADS, WIDTH = 2, 8


def batch_of(lengths: list[int], grid: RowGrid = CPU_GRID) -> PackedBatch:
    texts = [pieces_of(*[1] * length) for length in lengths]
    return pack([PieceWindow(n, 0, x, 0, x) for n, x in enumerate(lengths)], texts, grid)


def one_by_one(qkv: Tensor, batch: PackedBatch) -> Tensor:
    """The definition: every window alone, without padding."""
    out = torch.zeros(len(qkv), HEADS * WIDTH)
    for start, length in zip(batch.starts.tolist(), batch.lengths.tolist(), strict=True):
        rows = qkv[start : start + length].view(length, 3, HEADS, WIDTH)
        queries, keys, values = rows.permute(1, 2, 0, 3)
        found = scaled_dot_product_attention(queries, keys, values, scale=1.0)
        out[start : start + length] = found.transpose(0, 1).reshape(length, -1)
    return out


@settings(max_examples=40, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 90), min_size=1, max_size=40),
    ordered=st.booleans(),
    grid=st.sampled_from([CPU_GRID, FREE]),
    fused=st.booleans(),
)
def test_each_window_attends_to_itself_alone(
    lengths: list[int], ordered: bool, grid: RowGrid, fused: bool
) -> None:
    batch = batch_of(sorted(lengths, reverse=True) if ordered else lengths, grid)
    qkv = torch.randn(len(batch.ids), 3 * HEADS * WIDTH, generator=torch.Generator().manual_seed(1))
    fused = fused and has_fused_softmax(CPU, torch.float32)
    groups = plan_groups(batch, HEADS, CPU, torch.float32, fused_softmax=fused)
    found = grouped_attention(qkv, HEADS, groups)
    expected = one_by_one(qkv, batch)
    real = np.concatenate(
        [np.arange(a, a + n) for a, n in zip(batch.starts, batch.lengths, strict=True)]
    )
    torch.testing.assert_close(found[real], expected[real])
    assert found.isfinite().all(), "padding does no harm to what is computed from it"


def test_groups_are_powers_of_two_and_bounded() -> None:
    batch = batch_of([500] * 3 + [200] * 9 + [14] * 7)
    groups = plan_groups(batch, 12, CPU, torch.float32)
    assert [(g.span, len(g.starts)) for g in groups] == [
        *[(512, 1)] * 3,
        *[(208, 2)] * 4,
        (208, 1),
        *[(16, 4), (16, 2), (16, 1)],
    ]
    assert [g.mask is None for g in groups if g.span == 16] == [True] * 3
    assert [g.mask is None for g in groups if g.span == 208] == [False] * 4 + [True]
    assert {g.span: len(g.scratch.scores) for g in groups if len(g.starts) == 1} == {
        512: 4,  # a divisor of the twelve heads, of about a million scores
        208: 12,
        16: 12,
    }
    assert len({id(g.scratch) for g in groups if g.span == 512}) == 1, "one for all of a shape"


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("span", [16, 48, 208])
def test_the_fused_softmax_is_pytorchs(dtype: torch.dtype, span: int) -> None:
    if not has_fused_softmax(CPU, dtype):
        pytest.skip("this PyTorch has no oneDNN here")
    draw = torch.Generator().manual_seed(1)
    scores = (10 * torch.randn(3, span, span, generator=draw)).to(dtype)
    scores[:, :, span - 5 :] = -torch.inf
    values = torch.randn(3, span, 8, generator=draw).to(dtype)
    found, plain = torch.empty_like(values), torch.empty_like(values)
    for fused, out in ((True, found), (False, plain)):
        scratch = Scratch((3, span, span), CPU, dtype, fused=fused)
        scratch.scores.copy_(scores)
        scratch.weigh(values, out)
    exact = torch.softmax(scores.float(), -1) @ values.float()
    error = 1e-5 if dtype is torch.float32 else 0.03
    torch.testing.assert_close(found.float(), exact, atol=error, rtol=error)
    torch.testing.assert_close(plain.float(), exact, atol=error, rtol=error)


def test_without_the_operators_pytorchs_own_softmax_is_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def missing(*_: object) -> None:
        raise AttributeError("no such operator")

    monkeypatch.setattr(softmax, "_memory_of", missing)
    assert not has_fused_softmax(CPU, torch.float32)
    monkeypatch.setattr(softmax, "_memory_of", lambda opaque, like: torch.zeros_like(like))
    assert not has_fused_softmax(CPU, torch.float32), "something else is given"
    assert not has_fused_softmax(torch.device("meta"), torch.float32)


def test_bounds_name_every_window_and_the_end() -> None:
    bounds = plan_bounds(batch_of([3, 1, 5], FREE), CPU, 512)
    assert bounds.rows.tolist() == [0, 5, 8, 15]
    assert bounds.rows.dtype is torch.int32
    assert bounds.longest == 512


@pytest.mark.skipif(not torch.cuda.is_available(), reason="variable-length attention needs a GPU")
def test_the_kernel_of_a_gpu_gives_the_same() -> None:
    from worker.network.attention import varlen_attention

    batch = batch_of([30, 1, 200, 77], FREE)
    qkv = torch.randn(len(batch.ids), 3 * HEADS * 32, dtype=torch.bfloat16, device="cuda")
    found = varlen_attention(qkv, HEADS, plan_bounds(batch, qkv.device, 512))
    groups = plan_groups(batch, HEADS, qkv.device, torch.float32)
    expected = grouped_attention(qkv.float(), HEADS, groups)
    torch.testing.assert_close(found.float(), expected, atol=0.05, rtol=0.05)
