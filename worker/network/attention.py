"""Attention over packed rows: every window attends only to itself.

On a CPU a window is padded to a multiple of 16 rows, only for attention, because libraries create
and cache a kernel for every shape; short windows of one padded length are computed together, and
long ones a few heads at a time, so that the scores of a step fit the cache. On a GPU one kernel
handles windows of any length (FlashAttention-2, Dao 2023, through `torch.nn.attention.varlen`).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import groupby
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from torch import Tensor

from worker.network.softmax import Scratch
from worker.text.packing import PackedBatch, to_device
from worker.text.windows import round_up

_STEP: Final = 16
"""The multiple of rows to which a window is padded for its matrix products."""

_SCORES: Final = 1 << 20
"""The number of scores computed in one step, unless one head has more: 2 MiB in bf16."""


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """Windows that are computed together, each padded to `span` rows.

    `starts` and `lengths` are in rows of the batch. `mask` is added to the scores, shape (windows,
    1, 1, span): 0, or minus infinity at padding; None without padding or with a single window.
    `scratch` holds the scores of some heads of some windows; groups may share it.
    """

    starts: tuple[int, ...]
    lengths: tuple[int, ...]
    span: int
    mask: Tensor | None
    scratch: Scratch


def plan_groups(
    batch: PackedBatch,
    heads: int,
    device: torch.device,
    dtype: torch.dtype,
    *,
    fused_softmax: bool = False,
) -> list[Group]:
    """Group neighbours of one padded length by powers of two, to limit the number of shapes.

    :param fused_softmax: the result of `has_fused_softmax`
    """
    groups = []
    scratches: dict[tuple[int, int, int], Scratch] = {}
    first = 0
    spans = [round_up(length, _STEP) for length in batch.lengths.tolist()]
    for span, alike in groupby(spans):
        for count in _powers(sum(1 for _ in alike), max(1, _SCORES // (heads * span * span))):
            lengths = batch.lengths[first : first + count]
            mask = None
            if count > 1 and (lengths < span).any():
                padding = np.arange(span) >= lengths[:, None]
                mask = torch.zeros(padding.shape, dtype=dtype)
                mask.masked_fill_(torch.from_numpy(padding), -torch.inf)
                mask = mask[:, None, None].to(device)
            starts = batch.starts[first : first + count]
            shape = (_heads_a_step(count * heads, span), span, span)
            if shape not in scratches:
                scratches[shape] = Scratch(shape, device, dtype, fused=fused_softmax)
            groups.append(
                Group(tuple(starts.tolist()), tuple(lengths.tolist()), span, mask, scratches[shape])
            )
            first += count
    return groups


def _powers(count: int, most: int) -> Iterator[int]:
    """Split `count` into powers of two of at most `most`, the largest first."""
    while count:
        power = 1 << (min(count, most).bit_length() - 1)
        yield power
        count -= power


def _heads_a_step(heads: int, span: int) -> int:
    """Return how many of a group's heads are computed at one time, a divisor of their number."""
    most = max(1, _SCORES // (span * span))
    return next(size for size in range(min(heads, most), 0, -1) if heads % size == 0)


def grouped_attention(qkv: Tensor, heads: int, groups: Sequence[Group]) -> Tensor:
    """Attend within each window.

    :param qkv: queries, keys and values side by side, shape (rows, 3 x hidden); queries are scaled
    :returns: shape (rows, hidden); zero for rows outside all windows
    """
    rows, hidden = qkv.shape[0], qkv.shape[1] // 3
    out = qkv.new_empty(rows, hidden)
    width = hidden // heads
    stop = 0
    for group in groups:
        count, span, scratch = len(group.starts), group.span, group.scratch
        # Contiguous (3, windows x heads, span, head width): the products are a third faster.
        parts = qkv.new_empty(3, count, heads, span, width)
        for number, start in enumerate(group.starts):
            # The padding is the rows after the window; their values are finite, and masked.
            here = qkv[start : start + span].view(-1, 3, heads, width).permute(1, 2, 0, 3)
            parts[:, number, :, : here.shape[2]].copy_(here)
            parts[:, number, :, here.shape[2] :] = 0
        queries, keys, values = parts.view(3, -1, span, width)
        found = torch.empty_like(queries)
        keys = keys.transpose(1, 2)
        step = len(scratch.scores)
        for begin in range(0, count * heads, step):
            some = slice(begin, begin + step)
            torch.bmm(queries[some], keys[some], out=scratch.scores)
            if group.mask is not None:
                scratch.scores.view(count, heads, span, span).add_(group.mask)
            elif group.lengths[0] < span:
                scratch.scores[:, :, group.lengths[0] :] = -torch.inf
            scratch.weigh(values[some], found[some])
        for start, length, one in zip(
            group.starts, group.lengths, found.view(count, heads, span, width), strict=True
        ):
            stop = start + length
            out[start:stop].view(length, heads, width).copy_(one[:, :length].transpose(0, 1))
    out[stop:] = 0
    return out


class Bounds(NamedTuple):
    """The windows' first rows and the end of the last, shape (windows + 1,), int32.

    `longest` is the maximum number of rows of a window.
    """

    rows: Tensor
    longest: int


def plan_bounds(batch: PackedBatch, device: torch.device, longest: int) -> Bounds:
    """Return where the windows of a batch without padding between them begin and end."""
    rows = np.append(batch.starts, batch.starts[-1:] + batch.lengths[-1:])
    return Bounds(to_device(rows, device), longest)


def has_varlen_attention(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether `varlen_attention` is available on the device, in that precision."""
    installed = find_spec("torch.nn.attention.varlen") is not None
    return installed and device.type == "cuda" and dtype in (torch.bfloat16, torch.float16)


def varlen_attention(qkv: Tensor, heads: int, bounds: Bounds) -> Tensor:
    """Attend within each window, in one GPU kernel.

    :param qkv: as in `grouped_attention`; fp16 or bf16
    :returns: shape (rows, hidden); undefined for rows outside all windows
    """
    from torch.nn.attention.varlen import varlen_attn

    rows, hidden = qkv.shape[0], qkv.shape[1] // 3
    queries, keys, values = qkv.view(rows, 3, heads, hidden // heads).unbind(1)
    found: Any = varlen_attn(
        queries, keys, values, bounds.rows, bounds.rows, bounds.longest, bounds.longest, scale=1.0
    )
    out: Tensor = found.reshape(rows, hidden)
    return out
