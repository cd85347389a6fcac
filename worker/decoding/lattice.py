"""Lattice of a head's tags: forward-backward sums and Viterbi paths of many spans at once.

Between two pre-tokens a head is in the state *outside* every mention or *inside* one of its labels:
`B` leads from outside to inside, `E` back, `I` stays inside, `O` and `S` stay outside. So a message
has one number per label, the ratio of the weights of inside and outside. Spans are laid out step by
step: step k has a column for each span longer than k, longest spans first.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
States = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class Steps:
    """The columns of each step: step k has the columns `bounds[k]` to `bounds[k + 1]`.

    `bounds` has shape (steps + 1,); `pretokens` is the pre-token of each column, (columns,).
    """

    bounds: Ints
    pretokens: Ints


def lay_out_steps(first: Ints, length: Ints) -> Steps:
    """Lay out spans of the pre-tokens `first` to `first + length` step by step."""
    order = np.argsort(-length, kind="stable")
    first, length = first[order], length[order]
    longest = int(length[0])
    active = len(length) - np.searchsorted(length[::-1], np.arange(longest), side="right")
    bounds = np.concatenate(([0], np.cumsum(active)))
    step = np.repeat(np.arange(longest), active)
    rank = np.arange(bounds[-1]) - bounds[step]
    return Steps(bounds, first[rank] + step)


@dataclass(frozen=True, slots=True, eq=False)
class Weights:
    """Tag weights by step: `begin`, `inside`, `end` of shape (labels, columns) for B, I and E.

    `stay` is the weight of staying outside, (heads, columns): of `O` and every
    `S`, the sum for forward-backward, the maximum for the best path.
    """

    begin: Floats
    inside: Floats
    end: Floats
    stay: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Heads:
    """The head of each label, `of_label` (labels,), and each head's `first_label` (heads,)."""

    of_label: Ints
    first_label: Ints


def outside_probability(weights: Weights, steps: Steps, heads: Heads) -> tuple[Floats, Floats]:
    """Return the probability of being outside after each column, and each column's scale.

    Both have shape (heads, columns). The scale is the total weight of all continuations from
    outside before the column, divided by that from outside after it. So a mention's probability is
    that of being outside before its first column, times the product of weight / scale over its
    columns.
    """
    forward, _ = _ratios(weights.begin, weights.end, weights, steps, heads, backward=False)
    backward, scale = _ratios(weights.end, weights.begin, weights, steps, heads, backward=True)
    within = np.add.reduceat(forward * backward, heads.first_label, axis=0)
    return 1.0 / (1.0 + within), scale[heads.first_label]


def _ratios(
    enter: Floats, leave: Floats, weights: Weights, steps: Steps, heads: Heads, *, backward: bool
) -> tuple[Floats, Floats]:
    """Sum over paths: the ratios inside / outside after every column, and each column's divisor.

    Shapes (labels, columns) twice; the divisor is repeated for every label of a head.
    """
    labels, columns = enter.shape
    stay = weights.stay[heads.of_label]
    same_head = (heads.of_label[:, None] == heads.of_label).astype(np.float64)
    ratios = np.zeros((labels, columns))
    divisors = np.empty((labels, columns))
    bounds = steps.bounds.tolist()
    ratio = np.zeros((labels, bounds[1]))
    for step in reversed(range(len(bounds) - 1)) if backward else range(len(bounds) - 1):
        here = slice(bounds[step], bounds[step + 1])
        current = ratio[:, : here.stop - here.start]
        if backward:
            ratios[:, here] = current
        divisor = same_head @ (current * leave[:, here])
        divisor += stay[:, here]
        current *= weights.inside[:, here]
        current += enter[:, here]
        current /= divisor
        divisors[:, here] = divisor
        if not backward:
            ratios[:, here] = current
    return ratios, divisors


def best_states(weights: Weights, steps: Steps, heads: Heads) -> States:
    """Return the state of each head after each column on the best path (Viterbi 1967).

    `weights` are logarithms here. Shape (heads, columns): 0 outside, k inside the head's label
    number k, counted from 1. Of equally probable paths the one that stays outside longer is chosen.
    """
    labels, columns = weights.begin.shape
    before = _best_ratios(weights, steps, heads)
    stays_inside = before + weights.inside > weights.begin
    number = np.arange(labels) - heads.first_label[heads.of_label] + 1
    rows = heads.first_label + np.arange(len(heads.first_label))  # outside first, then its labels
    came = np.empty((labels + len(rows), columns), dtype=np.uint8)
    came[np.arange(labels) + heads.of_label + 1] = stays_inside * number[:, None]
    best, choice = weights.stay.copy(), np.zeros((len(rows), columns), dtype=np.uint8)
    for label, head in enumerate(heads.of_label.tolist()):
        leaving = before[label] + weights.end[label]
        better = leaving > best[head]
        np.copyto(best[head], leaving, where=better)
        np.copyto(choice[head], number[label], where=better, casting="unsafe")
    came[rows] = choice
    return _trace_back(came, rows, steps)


def _best_ratios(weights: Weights, steps: Steps, heads: Heads) -> Floats:
    """Return the best path's log weight inside minus outside before every column.

    Shape (labels, columns).
    """
    labels, columns = weights.begin.shape
    before = np.full((labels, columns), -np.inf)
    bounds = steps.bounds.tolist()
    ratio = before[:, : bounds[1]]
    for low, high in pairwise(bounds):
        before[:, low:high] = ratio[:, : high - low]
        ratio = before[:, low:high]
        outside = np.maximum.reduceat(ratio + weights.end[:, low:high], heads.first_label, axis=0)
        np.maximum(outside, weights.stay[:, low:high], out=outside)
        ratio = np.maximum(ratio + weights.inside[:, low:high], weights.begin[:, low:high])
        ratio -= outside[heads.of_label]
    return before


def _trace_back(came: States, rows: Ints, steps: Steps) -> States:
    """Follow the back-pointers `came` (state after a column -> state before it) from the ends."""
    flat, columns = came.ravel(), came.shape[1]
    row_starts = (rows * columns)[:, None]
    states = np.zeros((len(rows), columns), dtype=np.uint8)
    bounds = steps.bounds.tolist()
    column = np.arange(bounds[1])
    state = np.zeros((len(rows), bounds[1]), dtype=np.intp)
    for step in range(len(bounds) - 2, -1, -1):
        low, high = bounds[step], bounds[step + 1]
        here = state[:, : high - low]
        states[:, low:high] = here
        here[...] = flat[here * columns + (row_starts + low) + column[: high - low]]
    return states
