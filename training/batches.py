"""Windows as padded tensors: what a training step reads."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from training.examples import IGNORED, Window, join_soft
from worker.packing import to_device
from worker.tokenisation import WordPieceTokeniser
from worker.windows import SPECIAL_PIECES


@dataclass(frozen=True, slots=True, eq=False)
class Inputs:
    """A batch on its device.

    `ids`, `mask` and `case` have shape (windows, pieces). The pieces that are read stand at
    `places` of the flattened batch; `tags` (the own head's, below 0 without gold) and `heads` are
    theirs, shape (read pieces,); `soft` (read pieces, tags of all heads) is there where teachers'
    tags are, with rows of NaN for pieces without.
    """

    ids: Tensor
    mask: Tensor
    case: Tensor
    places: Tensor
    tags: Tensor
    heads: Tensor
    soft: Tensor | None

    def twice(self) -> "Inputs":
        """Return the batch with every window in it twice, the second copies behind the first."""
        size = self.ids.numel()
        return Inputs(
            torch.cat([self.ids, self.ids]),
            torch.cat([self.mask, self.mask]),
            torch.cat([self.case, self.case]),
            torch.cat([self.places, self.places + size]),
            torch.cat([self.tags, self.tags]),
            torch.cat([self.heads, self.heads]),
            None if self.soft is None else torch.cat([self.soft, self.soft]),
        )


def collate(batch: Sequence[Window], tokeniser: WordPieceTokeniser, device: torch.device) -> Inputs:
    """Pad windows to the longest and frame them by special pieces."""
    shape = (len(batch), max(window.length for window in batch))
    ids = np.full(shape, tokeniser.pad_id, dtype=np.int64)
    mask = np.zeros(shape, dtype=np.bool_)
    case = np.zeros(shape, dtype=np.int64)
    tags = np.full(shape, IGNORED, dtype=np.int64)
    heads = np.empty(shape, dtype=np.int64)
    for row, window in enumerate(batch):
        inside = slice(1, window.length - SPECIAL_PIECES + 1)
        ids[row, 0] = tokeniser.start_id
        ids[row, inside] = window.pieces.ids
        ids[row, window.length - 1] = tokeniser.end_id
        mask[row, : window.length] = True
        case[row, inside] = window.pieces.case
        tags[row, inside] = window.pieces.tags
        heads[row] = window.head
    places = np.flatnonzero(tags != IGNORED)
    soft = join_soft([window.pieces for window in batch])
    ids_, mask_, case_, places_, tags_, heads_ = (
        to_device(array, device)
        for array in (ids, mask, case, places, tags.ravel()[places], heads.ravel()[places])
    )
    taught = None if soft is None else to_device(soft, device)
    return Inputs(ids_, mask_, case_, places_, tags_, heads_, taught)
