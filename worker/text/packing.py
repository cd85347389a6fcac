"""Packed batches: windows concatenated along one axis, a row per word piece, almost no padding.

A padded batch wastes time on padding. Here all windows of a batch are concatenated along one axis
of rows (as in "Efficient Sequence Packing without Cross-contamination", Krell et al. 2021); only
attention needs to know where each begins. Only the batch as a whole is padded, to a multiple of a
few rows: libraries create and cache a kernel for every shape, which with arbitrary shapes takes
gigabytes over a long run.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from worker.text.tokenisation import WordPieces
from worker.text.windows import PieceWindow, round_up

Rows = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class RowGrid:
    """Padding policy: batches are padded to a multiple of `batch` rows.

    `least_rows` and `to_longest` are those of `worker.text.windows.fill_batches`.
    """

    batch: int
    least_rows: int | None = None
    to_longest: bool = False


FREE: Final = RowGrid(1)
"""No padding."""

PADDED: Final = RowGrid(1, to_longest=True)
"""For networks that pad every window of a batch to its longest one themselves."""

CPU_GRID: Final = RowGrid(32, least_rows=512)
"""Few distinct shapes for CPU kernels; costs about 1 % of the rows of full batches."""

CUDA_GRID: Final = RowGrid(1024)
"""Whole tiles for matrix products on a GPU."""


@dataclass(frozen=True, slots=True, eq=False)
class PackedBatch:
    """Concatenated windows; `ids`, `positions` and `case` (token types) have shape (rows,).

    `starts` and `lengths` (special pieces included) have shape (windows,), in rows. `select` holds
    the rows whose tags are scored, shape (selected,): first pieces of pre-tokens in the kept part
    of each window; `counts`, shape (windows,), is how many each window has.
    """

    ids: Rows
    positions: Rows
    case: Rows
    starts: Rows
    lengths: Rows
    select: npt.NDArray[np.int64]
    counts: npt.NDArray[np.int64]


def pack_batch(
    windows: Sequence[PieceWindow],
    texts: Sequence[WordPieces],
    *,
    start_id: int,
    end_id: int,
    pad_id: int,
    grid: RowGrid = FREE,
) -> PackedBatch:
    """Concatenate windows, each framed by special pieces."""
    lengths = np.array([window.length for window in windows], dtype=np.int32)
    stops = np.cumsum(lengths, dtype=np.int32)
    starts = stops - lengths
    rows = round_up(int(stops[-1]), grid.batch)
    ids = np.full(rows, pad_id, dtype=np.int32)
    case = np.zeros(rows, dtype=np.int32)
    chosen = np.zeros(rows, dtype=np.bool_)
    positions = np.zeros(rows, dtype=np.int32)
    positions[: stops[-1]] = np.arange(stops[-1], dtype=np.int32) - np.repeat(starts, lengths)
    counts = np.empty(len(windows), dtype=np.int64)
    ids[starts] = start_id
    ids[starts + lengths - 1] = end_id
    for number, (window, start) in enumerate(zip(windows, starts.tolist(), strict=True)):
        pieces = texts[window.text]
        inside = slice(start + 1, start + window.length - 1)
        ids[inside] = pieces.ids[window.start : window.stop]
        case[inside] = pieces.case[window.start : window.stop]
        first = pieces.first[window.keep_start : window.keep_stop]
        begin = start + 1 + window.keep_start - window.start
        chosen[begin : begin + len(first)] = first
        counts[number] = np.count_nonzero(first)
    return PackedBatch(ids, positions, case, starts, lengths, np.flatnonzero(chosen), counts)


def to_device(array: npt.NDArray[np.generic], device: torch.device) -> Tensor:
    """Return an array as a tensor on `device`; the copy to a GPU is asynchronous."""
    tensor = torch.from_numpy(array)
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)
