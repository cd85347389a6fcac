"""MLM masking: which word pieces are to be predicted, and what replaces them in the input.

Whole words are masked (all pieces of a pre-token; whole-word masking, as in the later models of
Devlin et al. 2019), with a new choice each time a window is read (dynamic masking, Liu et al. 2019,
"RoBERTa").
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from schemas.errors import TrainingError
from training.mlm.text import Pieces
from worker.text.tokenisation import WordPieceTokeniser
from worker.text.windows import SPECIAL_PIECES, round_up

MASK_FRACTION = 0.8
"""The fraction of chosen pieces that are replaced by the mask piece."""

RANDOM_FRACTION = 0.1
"""The fraction of chosen pieces that are replaced by a random piece; the rest is unchanged."""

_WIDTH = 8  # padded lengths are multiples of this, which suits matrix units


@dataclass(frozen=True, slots=True, eq=False)
class MaskPieces:
    """The mask piece's id, and the ids that random pieces are drawn from, shape (ids,)."""

    mask_id: int
    ordinary: npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True, eq=False)
class MaskedBatch:
    """Masked windows, padded; `ids`, `mask` and `case` have shape (windows, pieces).

    `mask` is false at padding. `chosen` holds the indices of the chosen pieces in the flattened
    batch and `targets` their true ids, both of shape (chosen pieces,).
    """

    ids: npt.NDArray[np.int32]
    mask: npt.NDArray[np.bool_]
    case: npt.NDArray[np.uint8]
    chosen: npt.NDArray[np.int64]
    targets: npt.NDArray[np.int64]


def mask_pieces(vocabulary: Mapping[str, int], size: int) -> MaskPieces:
    """Find the mask piece of a vocabulary, and its ordinary pieces below `size`.

    Special pieces (`[SEP]`, `<s>`) and reserved ones (`[unused7]`) are not ordinary.

    :raises TrainingError: if there is no mask piece.
    """
    for name in ("<mask>", "[MASK]"):  # MPNet has both, and uses the first
        if name in vocabulary:
            ordinary = [
                number
                for piece, number in vocabulary.items()
                if number < size and not _special(piece)
            ]
            return MaskPieces(vocabulary[name], np.array(sorted(ordinary), dtype=np.int32))
    raise TrainingError(
        "the encoder's tokeniser has no mask piece ([MASK] or <mask>); take an encoder that was "
        "pretrained as a masked language model"
    )


def _special(piece: str) -> bool:
    return len(piece) > 2 and (piece[0] + piece[-1]) in ("[]", "<>")


def choose_words(
    first: npt.NDArray[np.bool_],
    rows: npt.NDArray[np.int64],
    share: float,
    rng: np.random.Generator,
) -> npt.NDArray[np.bool_]:
    """Choose a `share` of the words of each row at random, at least one, and mark their pieces.

    :param first: whether a piece begins a word; ignored for the first piece of a row
    :param rows: the row of each piece, ascending, shape (pieces,)
    :returns: whether a piece was chosen, shape (pieces,)
    """
    begins = first.copy()
    begins[np.flatnonzero(np.diff(rows, prepend=-1))] = True
    word = np.cumsum(begins) - 1
    row_of = rows[begins]
    words = np.bincount(row_of)
    wanted = np.where(words > 0, np.maximum(1, np.rint(share * words)), 0)
    order = np.lexsort((rng.random(len(row_of)), row_of))
    rank = np.arange(len(order)) - (np.cumsum(words) - words)[row_of]
    chosen = np.zeros(len(order), dtype=np.bool_)
    chosen[order] = rank < wanted[row_of]
    marked: npt.NDArray[np.bool_] = chosen[word]
    return marked


def corrupt(
    targets: npt.NDArray[np.int32], pieces: MaskPieces, rng: np.random.Generator
) -> npt.NDArray[np.int32]:
    """Return the inputs for `targets`: 80 % mask pieces, 10 % random pieces, 10 % unchanged.

    Each piece is drawn independently.
    """
    draw = rng.random(len(targets))
    random = pieces.ordinary[rng.integers(0, len(pieces.ordinary), len(targets))]
    changed = np.where(draw < MASK_FRACTION + RANDOM_FRACTION, random, targets)
    return np.where(draw < MASK_FRACTION, np.int32(pieces.mask_id), changed)


def mask_batch(
    pieces: Pieces,
    windows: npt.NDArray[np.int64],
    tokeniser: WordPieceTokeniser,
    known: MaskPieces,
    share: float,
    max_pieces: int,
    rng: np.random.Generator,
) -> MaskedBatch:
    """Gather windows of at most `max_pieces` into a padded batch, with a `share` of words masked.

    The letter-case class of a masked piece is kept: case is an input, not a target.

    :param windows: begin and end of each window, shape (windows, 2)
    """
    lengths = windows[:, 1] - windows[:, 0]
    width = min(max_pieces, round_up(int(lengths.max()) + SPECIAL_PIECES, _WIDTH))
    shape = (len(windows), width)
    rows = np.repeat(np.arange(len(windows)), lengths)
    within = np.arange(len(rows)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    source = np.repeat(windows[:, 0], lengths) + within
    flat = rows * width + within + 1
    targets = pieces.ids[source]
    chosen = choose_words(pieces.first[source], rows, share, rng)
    ids = np.full(shape, tokeniser.pad_id, dtype=np.int32)
    ids[:, 0] = tokeniser.start_id
    ids[np.arange(len(windows)), lengths + 1] = tokeniser.end_id
    seen = targets.copy()
    seen[chosen] = corrupt(targets[chosen], known, rng)
    ids.reshape(-1)[flat] = seen
    case = np.zeros(shape, dtype=np.uint8)
    case.reshape(-1)[flat] = pieces.case[source]
    mask = np.arange(width) < (lengths + SPECIAL_PIECES)[:, None]
    return MaskedBatch(ids, mask, case, flat[chosen], targets[chosen].astype(np.int64))


def draw_batches(
    windows: npt.NDArray[np.int64], batch_pieces: int, rng: np.random.Generator
) -> list[npt.NDArray[np.int64]]:
    """Divide windows at random into batches of at most `batch_pieces` word pieces with padding.

    Pools of random windows are sorted by length and cut, so that there is little padding and each
    batch is still mixed.

    :returns: one array of window indices per batch; each window is in one batch
    """
    lengths = windows[:, 1] - windows[:, 0] + SPECIAL_PIECES
    order = rng.permutation(len(windows))
    pool = max(1, 32 * batch_pieces // max(1, int(lengths.mean()))) if len(windows) else 1
    batches = []
    for begin in range(0, len(order), pool):
        part = order[begin : begin + pool]
        part = part[np.argsort(-lengths[part], kind="stable")]
        at = 0
        while at < len(part):
            longest = round_up(int(lengths[part[at]]), _WIDTH)
            count = max(1, batch_pieces // longest)
            batches.append(part[at : at + count])
            at += count
    return [batches[number] for number in rng.permutation(len(batches))]
