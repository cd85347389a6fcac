"""Batches of training steps: windows as packed rows without padding."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from training.data.examples import IGNORED, Window, join_soft
from training.encoders.rows import Rows
from worker.text.packing import to_device
from worker.text.tokenisation import WordPieceTokeniser
from worker.text.windows import SPECIAL_PIECES


@dataclass(frozen=True, slots=True, eq=False)
class Inputs:
    """A batch on its device.

    `read_rows`, (first pieces,), are the indices of the rows that are classified: first pieces of
    pre-tokens. `tags` (of the window's own head, negative without gold) and `heads` have the same
    shape. `soft`, (first pieces, tags of all heads), holds soft labels, with rows of NaN for pieces
    that have none; it is None if the batch has none.
    """

    rows: Rows
    read_rows: Tensor
    tags: Tensor
    heads: Tensor
    soft: Tensor | None


def collate(batch: Sequence[Window], tokeniser: WordPieceTokeniser, device: torch.device) -> Inputs:
    """Concatenate windows, each between its special pieces, into a batch on `device`."""
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
    read_rows = np.flatnonzero(tags != IGNORED)
    soft = join_soft([window.pieces for window in batch])
    return Inputs(
        Rows(
            to_device(ids, device),
            to_device(positions, device),
            to_device(case, device),
            to_device(bounds, device),
            tuple(lengths.tolist()),
        ),
        to_device(read_rows, device),
        to_device(tags[read_rows], device),
        to_device(heads[read_rows], device),
        None if soft is None else to_device(soft, device),
    )
