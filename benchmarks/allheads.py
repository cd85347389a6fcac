"""Tokenisation and decoding for peers that compute all heads in one pass, shared with pubner.

They read whole citations, as pubner does: long ones in overlapping windows, windows of similar
length in one padded batch.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from benchmarks.weights import CheckpointShape
from schemas.records import Mention
from worker.checkpoint.folder import TOKENISER, read_manifest
from worker.decoding.cpu import decode
from worker.decoding.mentions import mentions_of
from worker.decoding.overlap import mark_preferred
from worker.text.tokenisation import WordPieces, load_tokeniser
from worker.text.windows import PieceWindow, cut_windows

Floats = npt.NDArray[np.float32]

_OVERLAP = 128


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Padded windows: `ids`, `mask` and `case` of shape (windows, pieces), int64."""

    windows: Sequence[PieceWindow]
    ids: npt.NDArray[np.int64]
    mask: npt.NDArray[np.int64]
    case: npt.NDArray[np.int64]


Run = Callable[[Iterable[Batch]], Iterator[tuple[Batch, Floats]]]
"""Yields each batch with its logits, shape (windows, pieces, tags), in any order."""


class AllHeads:
    """A tagger on top of any engine that scores padded batches."""

    def __init__(self, shape: CheckpointShape, run: Run, *, batch_pieces: int) -> None:
        self._shape = shape
        self._run = run
        self._batch_pieces = batch_pieces
        self._tokeniser = load_tokeniser(
            shape.folder / TOKENISER, read_manifest(shape.folder, verify=False).reading
        )

    def __call__(self, texts: Sequence[str]) -> list[tuple[Mention, ...]]:
        """Return the mentions of all heads in each text."""
        pieces = self._tokeniser.encode(texts)
        scores = self._scores(pieces)
        decoded = decode(self._shape.layout, scores, [text.line_lengths for text in pieces])
        return [
            mark_preferred(mentions_of(self._shape.tasks, text, runs, checkpoint_id=""))
            for text, runs in zip(pieces, decoded, strict=True)
        ]

    def _scores(self, texts: Sequence[WordPieces]) -> list[Floats]:
        """Return the tag scores of the first piece of every pre-token of each text."""
        all_pieces = [
            np.empty((len(pieces), self._shape.layout.width), dtype=np.float32) for pieces in texts
        ]
        for batch, logits in self._run(self._batches(texts)):
            for row, window in enumerate(batch.windows):
                kept = slice(
                    window.keep_start - window.start + 1, window.keep_stop - window.start + 1
                )
                all_pieces[window.text][window.keep_start : window.keep_stop] = logits[row, kept]
        return [scores[pieces.first] for scores, pieces in zip(all_pieces, texts, strict=True)]

    def _batches(self, texts: Sequence[WordPieces]) -> Iterator[Batch]:
        longest = self._shape.max_pieces
        overlap = min(_OVERLAP, (longest - 2) // 4)
        windows = [
            window
            for number, pieces in enumerate(texts)
            for window in cut_windows(number, len(pieces), longest, overlap)
        ]
        windows.sort(key=lambda window: -window.length)
        while windows:
            count = max(1, self._batch_pieces // windows[0].length)
            yield self._pad(windows[:count], texts)
            windows = windows[count:]

    def _pad(self, windows: Sequence[PieceWindow], texts: Sequence[WordPieces]) -> Batch:
        shape = (len(windows), windows[0].length)
        ids = np.full(shape, self._tokeniser.pad_id, dtype=np.int64)
        mask = np.zeros(shape, dtype=np.int64)
        case = np.zeros(shape, dtype=np.int64)
        ids[:, 0] = self._tokeniser.start_id
        for row, window in enumerate(windows):
            inside = slice(1, window.length - 1)
            ids[row, inside] = texts[window.text].ids[window.start : window.stop]
            case[row, inside] = texts[window.text].case[window.start : window.stop]
            ids[row, window.length - 1] = self._tokeniser.end_id
            mask[row, : window.length] = 1
        return Batch(windows, ids, mask, case)
