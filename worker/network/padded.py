"""Networks of encoders other than BERT, run by transformers on batches that are padded."""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from worker.network.model import MultiHeadModel
from worker.text.packing import PADDED, PackedBatch, RowGrid, to_device


class PaddedNetwork:
    """Any encoder that transformers supports, with all heads, on its device."""

    def __init__(
        self,
        model: MultiHeadModel,
        *,
        pad_id: int,
        letter_case: bool,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        self.grid: RowGrid = PADDED
        self._model = model.eval().to(device=device, dtype=dtype)
        self._pad_id, self._letter_case, self._device = pad_id, letter_case, device

    def __call__(self, batch: PackedBatch) -> Tensor:
        """Return the tag scores of the selected rows, shape (selected, tags), on the device."""
        shape = (len(batch.lengths), int(batch.lengths.max()))
        # The index of each packed row among the padded rows.
        window = np.repeat(np.arange(shape[0]), batch.lengths)
        index = window * shape[1] + np.arange(len(window)) - np.repeat(batch.starts, batch.lengths)

        chosen = np.zeros(len(index), dtype=np.bool_)
        chosen[batch.select] = True

        def pad(rows: npt.NDArray[Any], filler: int) -> Tensor:
            padded = np.full(shape[0] * shape[1], filler, dtype=rows.dtype)
            padded[index] = rows
            return to_device(padded.reshape(shape), self._device)

        scores: Tensor = self._model(
            pad(batch.ids, self._pad_id).long(),
            pad(np.ones(len(index), dtype=np.bool_), filler=False),
            pad(batch.case, 0).long() if self._letter_case else None,
            pad(chosen, filler=False),
        )
        return scores.float()
