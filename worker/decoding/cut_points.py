"""Cut texts where every head is surely outside, so that only stretches with mentions are decoded.

Whatever the rest of a text is, the weight inside a label over that outside it, behind a pre-token,
is at most u = max(B / O, I / E) of this pre-token's weights, and at most 2 max(B, v I) / O where v
bounds the ratio in front of it; likewise from the right with B and E exchanged. Where the product
of both bounds is far below one, no best path and nearly no probability crosses the place.
"""

import numpy as np
import numpy.typing as npt

Singles = npt.NDArray[np.float32]
Flags = npt.NDArray[np.bool_]

NEGLIGIBLE = 1e-6
"""A cut leaves out at most this share of the probability."""

_REFINEMENTS = 2
_LOG_2 = np.float32(np.log(2.0))


def sure_places(
    begin: Singles, inside: Singles, end: Singles, stay: Singles, starts: Flags
) -> Flags:
    """Return where no mention of any head crosses from one pre-token into the next.

    :param begin: the log weights of B, (labels, pre-tokens); `inside` and `end` likewise I and E
    :param stay: the largest log weight of `O` and every `S` of a label's head, (labels, pre-tokens)
    :param starts: where a line begins, shape (pre-tokens,)
    :return: true at a pre-token if the place in front of it is sure; (pre-tokens,)
    """
    stops = np.append(starts[1:], True)
    staying = inside - stay
    left = _bound(begin - stay, inside - end, staying, starts)
    right = _bound((end - stay)[:, ::-1], (inside - begin)[:, ::-1], staying[:, ::-1], stops[::-1])[
        :, ::-1
    ]
    sure = starts.copy()
    sure[1:] |= (left[:, :-1] + right[:, 1:]).max(axis=0) < np.log(NEGLIGIBLE / len(begin))
    return sure


def _bound(entering: Singles, through: Singles, staying: Singles, starts: Flags) -> Singles:
    """Bound the log of inside over outside behind each pre-token, whatever stands before it."""
    bound = np.maximum(entering, through)
    first = np.flatnonzero(starts)
    for _ in range(_REFINEMENTS):
        refined = entering.copy()
        np.maximum(refined[:, 1:], bound[:, :-1] + staying[:, 1:], out=refined[:, 1:])
        refined[:, first] = entering[:, first]
        refined += _LOG_2
        np.minimum(bound, refined, out=bound)
    return bound
