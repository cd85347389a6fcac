"""Constrained decoding: from the tag scores of pre-tokens to mentions with probabilities.

Every head is read as a linear chain whose transitions are 1 where IOBES allows them and 0 where it
does not. The mentions are those of the most probable legal sequence (Viterbi 1967); a mention's
score is its marginal: the share of the probability of all legal sequences that contain exactly it
(forward-backward, Rabiner 1989). All heads of a batch of texts are decoded in one pass.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from schemas.tags import OUTSIDE, iobes_tags, may_follow, split_tag
from schemas.tasks import Task

Floats = npt.NDArray[np.float64]

_FLOOR = 1e-30
_IMPOSSIBLE = -1e9


@dataclass(frozen=True, slots=True, eq=False)
class HeadLayout:
    """Where each head's tags stand in the concatenated tag axis, and which may follow which.

    `tags` names all tags, shape (tags,); `slices` are one a head; `allowed` is (tags, tags),
    true where the column's tag may follow the row's; `outside` marks each head's `O`.
    """

    tasks: tuple[Task, ...]
    tags: tuple[str, ...]
    slices: tuple[slice, ...]
    allowed: npt.NDArray[np.bool_]
    outside: npt.NDArray[np.bool_]

    @property
    def width(self) -> int:
        """The number of tags of all heads together."""
        return len(self.tags)


def head_layout(tasks: Sequence[Task]) -> HeadLayout:
    """Lay the tags of `tasks` side by side, in order."""
    tags: list[str] = []
    slices = []
    for task in tasks:
        own = iobes_tags(task.label_names)
        slices.append(slice(len(tags), len(tags) + len(own)))
        tags.extend(own)
    allowed = np.zeros((len(tags), len(tags)), dtype=np.bool_)
    for part in slices:
        for before in range(part.start, part.stop):
            for after in range(part.start, part.stop):
                allowed[before, after] = may_follow(tags[before], tags[after])
    outside = np.array([tag == OUTSIDE for tag in tags])
    return HeadLayout(tuple(tasks), tuple(tags), tuple(slices), allowed, outside)


@dataclass(frozen=True, slots=True)
class DecodedRun:
    """A mention as pre-token numbers: `head` index, `label`, `first` to `last` inclusive."""

    head: int
    label: str
    first: int
    last: int
    score: float


def head_probabilities(layout: HeadLayout, logits: npt.NDArray[np.float32]) -> Floats:
    """Softmax within each head along the last axis; float64, same shape as `logits`."""
    out = np.empty(logits.shape, dtype=np.float64)
    for part in layout.slices:
        scores = logits[..., part].astype(np.float64)
        scores -= scores.max(axis=-1, keepdims=True)
        np.exp(scores, out=scores)
        out[..., part] = scores / scores.sum(axis=-1, keepdims=True)
    return np.maximum(out, _FLOOR)


def decode(layout: HeadLayout, logits: Sequence[npt.NDArray[np.float32]]) -> list[list[DecodedRun]]:
    """Decode texts together: each item of `logits` has shape (pre-tokens, tags).

    Returns the mentions of each text, in order of head and position. Shorter texts are padded with
    certain `O`, which is also what stands before and after each text: it adds nothing to any
    sequence but the rule that a mention is complete within its text.
    """
    lengths = [len(scores) for scores in logits]
    if not lengths or max(lengths) == 0:
        return [[] for _ in lengths]
    steps = max(lengths) + 1
    certain = np.where(layout.outside, 1.0, _FLOOR)
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
    penalty = np.where(layout.allowed, 0.0, _IMPOSSIBLE)
    best = np.where(layout.allowed[layout.outside].any(axis=0), 0.0, _IMPOSSIBLE) + log_p[0]
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
    allowed = layout.allowed.astype(np.float64)
    member = np.zeros((width, len(layout.slices)))
    for head, part in enumerate(layout.slices):
        member[part, head] = 1.0
    forward = np.empty_like(p)
    backward = np.empty_like(p)
    scale = np.empty((steps, texts, len(layout.slices)))
    reach = np.tile(layout.outside.astype(np.float64) @ allowed, (texts, 1))
    for step in range(steps):
        here = reach * p[step]
        scale[step] = here @ member
        forward[step] = here / (scale[step] @ member.T)
        reach = forward[step] @ allowed
    # Every text ends in certain O: only tags from which the end can be reached count.
    backward[steps - 1] = layout.outside / (forward[steps - 1] * layout.outside @ member @ member.T)
    for step in range(steps - 2, -1, -1):
        ahead = backward[step + 1] * p[step + 1] / (scale[step + 1] @ member.T)
        backward[step] = ahead @ allowed.T
    return forward, backward, scale
