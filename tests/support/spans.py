"""Conversion of predicted tags back into character spans, for round-trip tests."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from schemas.records import Span
from schemas.tags import iobes_tags
from worker.text.alignment import tag_runs
from worker.text.tokenisation import WordPieces


def recover_spans(
    pieces: WordPieces, tags: npt.NDArray[np.int64], labels: Sequence[str]
) -> tuple[Span, ...]:
    """Return the character spans of IOBES tag indices of pre-tokens, shape (pre-tokens,)."""
    names = iobes_tags(labels)
    starts, ends = pieces.pretoken_starts, pieces.pretoken_ends
    return tuple(
        Span(int(starts[first]), int(ends[last]), label)
        for first, last, label in tag_runs([names[int(tag)] for tag in tags])
    )
