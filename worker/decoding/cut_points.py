"""Safe cut points: positions between pre-tokens that no mention of any head crosses.

Only the spans between cut points that may contain mentions are decoded. Whatever the rest of a text
is, the ratio of the weights inside and outside a label after a pre-token is at most
u = max(B / O, I / E) of this pre-token's weights, and at most 2 max(B, v I) / O where v bounds the
ratio before it; likewise from the right with B and E exchanged. If the product of both bounds is
far below one, no best path and almost no probability crosses the position.
"""

import numpy as np
import numpy.typing as npt

Singles = npt.NDArray[np.float32]
Flags = npt.NDArray[np.bool_]

NEGLIGIBLE = 1e-6
"""A cut ignores at most this fraction of the probability."""

_REFINEMENTS = 2
_LOG_2 = np.float32(np.log(2.0))


def safe_cuts(begin: Singles, inside: Singles, end: Singles, stay: Singles, starts: Flags) -> Flags:
    """Return the safe cut points: where no mention crosses from one pre-token to the next.

    :param begin: the log weights of B, (labels, pre-tokens); `inside` and `end` likewise I and E
    :param stay: the largest log weight of `O` and every `S` of a label's head, (labels, pre-tokens)
    :param starts: where a line begins, shape (pre-tokens,)
    :return: true at a pre-token if the position before it is a safe cut; (pre-tokens,)
    """
    stops = np.append(starts[1:], True)
    staying = inside - stay
    left = _bound(begin - stay, inside - end, staying, starts)
    right = _bound((end - stay)[:, ::-1], (inside - begin)[:, ::-1], staying[:, ::-1], stops[::-1])[
        :, ::-1
    ]
    cuts = starts.copy()
    cuts[1:] |= (left[:, :-1] + right[:, 1:]).max(axis=0) < np.log(NEGLIGIBLE / len(begin))
    return cuts


def _bound(entering: Singles, through: Singles, staying: Singles, starts: Flags) -> Singles:
    """Bound the log ratio inside / outside after each pre-token, whatever precedes it."""
    bound = np.maximum(entering, through)
    first = np.flatnonzero(starts)
    for _ in range(_REFINEMENTS):
        refined = entering.copy()
        np.maximum(refined[:, 1:], bound[:, :-1] + staying[:, 1:], out=refined[:, 1:])
        refined[:, first] = entering[:, first]
        refined += _LOG_2
        np.minimum(bound, refined, out=bound)
    return bound
