"""Constrained decoding as it is read in a textbook: every tag, every step, double precision."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from schemas.tags import OUTSIDE, may_follow, split_tag
from worker.decoding.cpu import DecodedRun, HeadLayout

Floats = npt.NDArray[np.float64]

_FLOOR = 1e-30
_IMPOSSIBLE = -1e9


def head_probabilities(layout: HeadLayout, logits: npt.NDArray[np.float32]) -> Floats:
    """Softmax within each head along the last axis; float64, same shape as `logits`."""
    out = np.empty(logits.shape, dtype=np.float64)
    for part in layout.slices:
        scores = logits[..., part].astype(np.float64)
        scores -= scores.max(axis=-1, keepdims=True)
        np.exp(scores, out=scores)
        out[..., part] = scores / scores.sum(axis=-1, keepdims=True)
    return np.maximum(out, _FLOOR)


def reference_decode(
    layout: HeadLayout, logits: Sequence[npt.NDArray[np.float32]]
) -> list[list[DecodedRun]]:
    """Decode each item of `logits`, (pre-tokens, tags), as `worker.decoding.cpu.decode` does."""
    lengths = [len(scores) for scores in logits]
    if not lengths or max(lengths) == 0:
        return [[] for _ in lengths]
    steps = max(lengths) + 1
    certain = np.where(_outside(layout), 1.0, _FLOOR)
    p = np.tile(certain, (steps, len(lengths), 1))
    for number, scores in enumerate(logits):
        if len(scores):
            p[: len(scores), number] = head_probabilities(layout, scores)
    path = _viterbi(layout, np.log(p))
    begins = np.array([split_tag(tag)[0] in ("B", "S") for tag in layout.tags])
    forward, backward, scale = _forward_backward(layout, p)
    out: list[list[DecodedRun]] = [[] for _ in lengths]
    for head in range(len(layout.slices)):
        columns = path[:, :, head]
        for first, text in zip(*(x.tolist() for x in np.nonzero(begins[columns])), strict=True):
            begin = int(columns[first, text])
            label = split_tag(layout.tags[begin])[1]
            last = first
            if layout.tags[begin].startswith("B"):
                end = begin + 2  # B, I, E, S stand in this order
                last = first + 1
                while columns[last, text] != end:
                    last += 1
            run = columns[first : last + 1, text]
            between = np.log(p[np.arange(first + 1, last + 1), text, run[1:]])
            between -= np.log(scale[first + 1 : last + 1, text, head])
            log_score = (
                np.log(forward[first, text, run[0]])
                + between.sum()
                + np.log(backward[last, text, run[-1]])
            )
            score = float(min(1.0, np.exp(log_score)))
            out[text].append(DecodedRun(head, label, int(first), int(last), score))
    for runs in out:
        runs.sort(key=lambda run: (run.head, run.first))
    return out


def _viterbi(layout: HeadLayout, log_p: Floats) -> npt.NDArray[np.int64]:
    """Return the best legal tags, shape (steps, texts, heads), of `log_p` (steps, texts, tags)."""
    steps, texts, width = log_p.shape
    penalty = np.where(_allowed(layout), 0.0, _IMPOSSIBLE)
    best = np.where(_allowed(layout)[_outside(layout)].any(axis=0), 0.0, _IMPOSSIBLE) + log_p[0]
    back = np.empty((steps, texts, width), dtype=np.int16)
    for step in range(1, steps):
        candidates = best[:, :, None] + penalty
        choice = candidates.argmax(axis=1)
        back[step] = choice
        best = np.take_along_axis(candidates, choice[:, None, :], axis=1)[:, 0] + log_p[step]
    path = np.empty((steps, texts, len(layout.slices)), dtype=np.int64)
    rows = np.arange(texts)
    for head, part in enumerate(layout.slices):
        current = np.full(texts, part.start)  # the padding behind every text is O
        path[steps - 1, :, head] = current
        for step in range(steps - 1, 0, -1):
            current = back[step, rows, current]
            path[step - 1, :, head] = current
    return path


def _forward_backward(layout: HeadLayout, p: Floats) -> tuple[Floats, Floats, Floats]:
    """Return scaled forward and backward (steps, texts, tags) and the scales (steps, texts, heads).

    forward x backward is the marginal of each tag at each step.
    """
    steps, texts, width = p.shape
    allowed = _allowed(layout).astype(np.float64)
    member = np.zeros((width, len(layout.slices)))
    for head, part in enumerate(layout.slices):
        member[part, head] = 1.0
    forward = np.empty_like(p)
    backward = np.empty_like(p)
    scale = np.empty((steps, texts, len(layout.slices)))
    reach = np.tile(_outside(layout).astype(np.float64) @ allowed, (texts, 1))
    for step in range(steps):
        here = reach * p[step]
        scale[step] = here @ member
        forward[step] = here / (scale[step] @ member.T)
        reach = forward[step] @ allowed
    # Every text ends in certain O: only tags from which the end can be reached count.
    outside = _outside(layout)
    backward[steps - 1] = outside / (forward[steps - 1] * outside @ member @ member.T)
    for step in range(steps - 2, -1, -1):
        ahead = backward[step + 1] * p[step + 1] / (scale[step + 1] @ member.T)
        backward[step] = ahead @ allowed.T
    return forward, backward, scale


def _outside(layout: HeadLayout) -> npt.NDArray[np.bool_]:
    """Mark each head's `O`, shape (tags,)."""
    return np.array([tag == OUTSIDE for tag in layout.tags])


def _allowed(layout: HeadLayout) -> npt.NDArray[np.bool_]:
    """Say which tag (column) may follow which (row) within its head, shape (tags, tags)."""
    out = np.zeros((layout.width, layout.width), dtype=np.bool_)
    for part in layout.slices:
        for before in range(part.start, part.stop):
            for after in range(part.start, part.stop):
                out[before, after] = may_follow(layout.tags[before], layout.tags[after])
    return out
