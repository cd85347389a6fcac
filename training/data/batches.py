"""Windows as packed rows: what a training step reads."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from training.data.examples import IGNORED, Window, join_soft
from worker.text.packing import to_device
from worker.text.tokenisation import WordPieceTokeniser
from worker.text.windows import SPECIAL_PIECES


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Windows end to end, one row a word piece, special ones in, on their device.

    `ids`, `positions` and `case` have shape (rows,), int64; `bounds` says where each window begins
    and the last ends, (windows + 1,), int32; `lengths` holds each window's rows.
    """

    ids: Tensor
    positions: Tensor
    case: Tensor
    bounds: Tensor
    lengths: tuple[int, ...]

    def padded(self, pad_id: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return ids, mask and case as (windows, pieces), and each row's place in them."""
        shape = (len(self.lengths), max(self.lengths))
        starts = torch.repeat_interleave(
            torch.arange(shape[0], device=self.ids.device) * shape[1],
            torch.tensor(self.lengths, device=self.ids.device),
            output_size=len(self.ids),
        )
        places = starts + self.positions
        ids = self.ids.new_full((shape[0] * shape[1],), pad_id).index_copy(0, places, self.ids)
        case = torch.zeros_like(ids).index_copy(0, places, self.case)
        mask = torch.zeros_like(ids, dtype=torch.bool).index_fill(0, places, value=True)
        return ids.view(shape), mask.view(shape), case.view(shape), places


@dataclass(frozen=True, slots=True, eq=False)
class Inputs:
    """A batch on its device.

    The pieces that are read are the rows `places`, (read pieces,); `tags` (the own head's, below 0
    without gold) and `heads` are theirs; `soft`, (read pieces, tags of all heads), is there where
    teachers' tags are, with rows of NaN for pieces without.
    """

    rows: Rows
    places: Tensor
    tags: Tensor
    heads: Tensor
    soft: Tensor | None


def collate(batch: Sequence[Window], tokeniser: WordPieceTokeniser, device: torch.device) -> Inputs:
    """Lay windows end to end, each framed by special pieces."""
    lengths = np.array([window.length for window in batch], dtype=np.int32)
    bounds = np.concatenate(([0], np.cumsum(lengths, dtype=np.int32))).astype(np.int32)
    size = int(bounds[-1])
    ids = np.empty(size, dtype=np.int64)
    case = np.zeros(size, dtype=np.int64)
    tags = np.full(size, IGNORED, dtype=np.int64)
    positions = np.arange(size) - np.repeat(bounds[:-1].astype(np.int64), lengths)
    for begin, window in zip(bounds.tolist(), batch, strict=False):
        end = begin + window.length - 1
        inside = slice(begin + 1, end + 2 - SPECIAL_PIECES)
        ids[begin], ids[end] = tokeniser.start_id, tokeniser.end_id
        ids[inside] = window.pieces.ids
        case[inside] = window.pieces.case
        tags[inside] = window.pieces.tags
    heads = np.repeat(np.array([window.head for window in batch], dtype=np.int64), lengths)
    places = np.flatnonzero(tags != IGNORED)
    soft = join_soft([window.pieces for window in batch])
    return Inputs(
        Rows(
            to_device(ids, device),
            to_device(positions, device),
            to_device(case, device),
            to_device(bounds, device),
            tuple(lengths.tolist()),
        ),
        to_device(places, device),
        to_device(tags[places], device),
        to_device(heads[places], device),
        None if soft is None else to_device(soft, device),
    )
