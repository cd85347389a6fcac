"""Attention over packed rows: every window attends to itself alone.

On a CPU windows of one padded length go together, so that all scores of a step stay in the cache
and no row is spent on padding beyond the grid; on a GPU one kernel takes windows of any length
(FlashAttention-2, Dao 2023, through `torch.nn.attention.varlen`).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import groupby
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from torch import Tensor

from worker.packing import PackedBatch, to_device

_GROUP_SCORES: Final = 1 << 18
"""Scores a head that a group of several windows has at most: 512 x 512."""


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """Windows of `span` rows each that lie side by side from row `start`.

    `mask` is added to the scores, shape (windows, 1, 1, span): 0, or minus infinity at padding;
    None where there is none. A window alone has no mask: its scores end at `length`.
    """

    start: int
    windows: int
    span: int
    length: int
    mask: Tensor | None


def plan_groups(batch: PackedBatch, device: torch.device, dtype: torch.dtype) -> list[Group]:
    """Group neighbours of one padded length by powers of two, since each shape costs a kernel."""
    groups = []
    first = 0
    for span, alike in groupby(batch.spans.tolist()):
        for count in _powers(sum(1 for _ in alike), max(1, _GROUP_SCORES // (span * span))):
            lengths = batch.lengths[first : first + count]
            mask = None
            if count > 1 and (lengths < span).any():
                padding = np.arange(span) >= lengths[:, None]
                mask = torch.zeros(padding.shape, dtype=dtype)
                mask.masked_fill_(torch.from_numpy(padding), -torch.inf)
                mask = mask[:, None, None].to(device)
            start = int(batch.starts[first])
            groups.append(Group(start, count, span, int(lengths[0]), mask))
            first += count
    return groups


def _powers(count: int, most: int) -> Iterator[int]:
    """Split `count` into powers of two of at most `most`, the largest first."""
    while count:
        power = 1 << (min(count, most).bit_length() - 1)
        yield power
        count -= power


def grouped_attention(qkv: Tensor, heads: int, groups: Sequence[Group]) -> Tensor:
    """Attend within each window.

    :param qkv: queries, keys and values side by side, shape (rows, 3 x hidden); queries are scaled
    :returns: shape (rows, hidden); zero where a row belongs to no window
    """
    rows, hidden = qkv.shape[0], qkv.shape[1] // 3
    out = qkv.new_empty(rows, hidden)
    stop = 0
    for group in groups:
        shape = (group.windows, group.span, 3, heads, hidden // heads)
        stop = group.start + group.windows * group.span
        here = qkv[group.start : stop].view(shape).permute(2, 0, 3, 1, 4)
        # Contiguous (3, windows x heads, span, head width): the products are a third faster.
        queries, keys, values = here.contiguous().view(3, -1, group.span, shape[-1])
        scores = torch.bmm(queries, keys.transpose(1, 2))
        if group.mask is not None:
            scores.view(group.windows, heads, group.span, group.span).add_(group.mask)
        elif group.length < group.span:
            scores[:, :, group.length :] = -torch.inf
        torch.softmax(scores, dim=-1, out=scores)
        found = torch.bmm(scores, values).view(group.windows, heads, group.span, shape[-1])
        place = out[group.start : stop].view(group.windows, group.span, heads, shape[-1])
        place.copy_(found.transpose(1, 2))
    out[stop:] = 0
    return out


class Bounds(NamedTuple):
    """The windows' first rows and the end of the last, shape (windows + 1,), int32.

    `longest` is the most rows a window has.
    """

    rows: Tensor
    longest: int


def plan_bounds(batch: PackedBatch, device: torch.device, longest: int) -> Bounds:
    """Return where the windows of a batch without padding between them begin and end."""
    rows = np.append(batch.starts, batch.starts[-1:] + batch.spans[-1:])
    return Bounds(to_device(rows, device), longest)


def has_varlen_attention(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether `varlen_attention` runs there, in that precision."""
    here = find_spec("torch.nn.attention.varlen") is not None
    return here and device.type == "cuda" and dtype in (torch.bfloat16, torch.float16)


def varlen_attention(qkv: Tensor, heads: int, bounds: Bounds) -> Tensor:
    """Attend within each window, in one kernel of a GPU.

    :param qkv: as in `grouped_attention`; fp16 or bf16
    :returns: shape (rows, hidden); anything where a row belongs to no window
    """
    from torch.nn.attention.varlen import varlen_attn

    rows, hidden = qkv.shape[0], qkv.shape[1] // 3
    queries, keys, values = qkv.view(rows, 3, heads, hidden // heads).unbind(1)
    found: Any = varlen_attn(
        queries, keys, values, bounds.rows, bounds.rows, bounds.longest, bounds.longest, scale=1.0
    )
    out: Tensor = found.reshape(rows, hidden)
    return out
