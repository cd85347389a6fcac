"""Windows of word pieces as packed rows, the input of the networks of training steps."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Concatenated windows, one row per word piece (special pieces included), on a device.

    `ids`, `positions` and `case` have shape (rows,), int64; `bounds` holds the cumulative window
    lengths, (windows + 1,), int32; `lengths` the number of rows of each window.
    """

    ids: Tensor
    positions: Tensor
    case: Tensor
    bounds: Tensor
    lengths: tuple[int, ...]

    def padded(self, pad_id: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return padded ids, mask and case, (windows, pieces), and the flat index of each row."""
        shape = (len(self.lengths), max(self.lengths))
        starts = torch.repeat_interleave(
            torch.arange(shape[0], device=self.ids.device) * shape[1],
            torch.tensor(self.lengths, device=self.ids.device),
            output_size=len(self.ids),
        )
        indices = starts + self.positions
        ids = self.ids.new_full((shape[0] * shape[1],), pad_id).index_copy(0, indices, self.ids)
        case = torch.zeros_like(ids).index_copy(0, indices, self.case)
        mask = torch.zeros_like(ids, dtype=torch.bool).index_fill(0, indices, value=True)
        return ids.view(shape), mask.view(shape), case.view(shape), indices
