"""Networks of encoders that run as PyTorch modules, on batches that are padded."""

from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from worker.network.family import NetworkOptions
from worker.network.model import MultiHeadModel
from worker.text.packing import PADDED, PackedBatch, RowGrid, to_device


class PaddedNetwork:
    """An encoder with all heads as a module, on its device; the module itself is modified."""

    def __init__(self, model: MultiHeadModel, options: NetworkOptions) -> None:
        self.grid: RowGrid = PADDED
        self._model = model.eval().to(device=options.device, dtype=options.dtype)
        self._options = options

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
            return to_device(padded.reshape(shape), self._options.device)

        scores: Tensor = self._model(
            pad(batch.ids, self._options.pad_id).long(),
            pad(np.ones(len(index), dtype=np.bool_), filler=False),
            pad(batch.case, 0).long() if self._options.letter_case else None,
            pad(chosen, filler=False),
        )
        return scores.float()
