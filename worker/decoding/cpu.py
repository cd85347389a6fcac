"""Constrained decoding: from the tag scores of pre-tokens to mentions with probabilities.

Every head is a lattice (a linear-chain model) whose transition weights are 1 if IOBES allows the
transition and 0 otherwise. No mention crosses the end of a line: each line begins and ends outside.
The mentions are those of the most probable legal sequence (Viterbi 1967); a mention's score is its
marginal: the fraction of the probability of all legal sequences that contains exactly this mention
(forward-backward, Rabiner 1989). All heads of many texts are decoded in one pass, and only in spans
that may contain a mention.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from schemas.tags import POSITIONS, iobes_tags
from schemas.tasks import Task
from worker.decoding.cut_points import Flags, Singles, safe_cuts
from worker.decoding.lattice import (
    Floats,
    Heads,
    Ints,
    States,
    Steps,
    Weights,
    best_states,
    lay_out_steps,
    outside_probability,
)
from worker.text.windows import split_runs

LOWEST = -69.0
"""No tag's log weight is further below that of its head's most probable tag; e^-69 is 1e-30."""

_GROUP_PRETOKENS = 1 << 14  # so that the arrays of a group stay in the cache


@dataclass(frozen=True, slots=True, eq=False)
class HeadLayout:
    """The position of each head's tags on the concatenated tag axis.

    `tags` names all tags, shape (tags,); `slices` has one slice per head, which begins with its
    `O`. `labels` names the labels of all heads in order, and `heads` maps labels to heads.
    """

    tasks: tuple[Task, ...]
    tags: tuple[str, ...]
    slices: tuple[slice, ...]
    labels: tuple[str, ...]
    heads: Heads

    @property
    def width(self) -> int:
        """The number of tags of all heads together."""
        return len(self.tags)

    @property
    def outside_tags(self) -> Ints:
        """The index of each head's `O` on the tag axis, shape (heads,)."""
        return np.array([part.start for part in self.slices])

    def label_tags(self, position: str) -> Ints:
        """Return the index of each label's tag for `position`, one of B, I, E, S; (labels,)."""
        heads = self.heads.of_label
        label = np.arange(len(heads)) - self.heads.first_label[heads]
        first_tags: Ints = self.outside_tags[heads] + 1 + len(POSITIONS) * label
        return first_tags + POSITIONS.index(position)


def head_layout(tasks: Sequence[Task]) -> HeadLayout:
    """Concatenate the tags of `tasks`, in order."""
    tags: list[str] = []
    slices = []
    for task in tasks:
        own = iobes_tags(task.label_names)
        slices.append(slice(len(tags), len(tags) + len(own)))
        tags.extend(own)
    counts = [len(task.labels) for task in tasks]
    heads = Heads(
        of_label=np.repeat(np.arange(len(counts)), counts),
        first_label=np.cumsum([0, *counts[:-1]]) if counts else np.zeros(0, dtype=np.int64),
    )
    labels = tuple(name for task in tasks for name in task.label_names)
    return HeadLayout(tuple(tasks), tuple(tags), tuple(slices), labels, heads)


@dataclass(frozen=True, slots=True)
class DecodedRun:
    """A mention as pre-token numbers: `head` index, `label`, `first` to `last` inclusive."""

    head: int
    label: str
    first: int
    last: int
    score: float


def decode(
    layout: HeadLayout, logits: Sequence[Singles], lines: Sequence[Ints] | None = None
) -> list[list[DecodedRun]]:
    """Decode texts together; return the mentions of each, in order of head and position.

    :param logits: of each text, shape (pre-tokens, tags)
    :param lines: of each text, how many pre-tokens each of its lines has: no mention crosses from
        one line into the next. Without it each text is one line.
    """
    if lines is None:
        lines = [np.array([len(scores)]) for scores in logits]
    out: list[list[DecodedRun]] = []
    for texts in split_runs([len(scores) for scores in logits], _GROUP_PRETOKENS):
        out += _decode_group(layout, logits[texts], lines[texts])
    return out


def _decode_group(
    layout: HeadLayout, logits: Sequence[Singles], lines: Sequence[Ints]
) -> list[list[DecodedRun]]:
    bounds = np.cumsum([0, *(len(scores) for scores in logits)])
    if not bounds[-1] or not layout.tasks:
        return [[] for _ in logits]
    logs = _log_weights(layout, logits, bounds)
    starts = np.zeros(bounds[-1] + 1, dtype=np.bool_)
    starts[bounds] = True
    starts[np.cumsum(np.concatenate(lines))] = True
    first, length = _candidate_spans(layout, logs, starts[:-1])
    if not len(first):
        return [[] for _ in logits]
    steps = lay_out_steps(first, length)
    laid_out = logs.take(steps.pretokens, axis=1).astype(np.float64)
    states = np.zeros((len(layout.tasks), bounds[-1]), dtype=np.uint8)
    states[:, steps.pretokens] = best_states(
        _lattice_weights(layout, laid_out, np.maximum), steps, layout.heads
    )
    found = _mentions(layout, logs, states)
    scores = _scores(layout, np.exp(laid_out, out=laid_out), steps, found)
    return runs_by_text(layout, replace(found, score=scores), bounds)


def _log_weights(layout: HeadLayout, logits: Sequence[Singles], bounds: Ints) -> Singles:
    """Return every tag's log weight less that of its head's best tag; (tags, pre-tokens)."""
    logs = np.empty((layout.width, int(bounds[-1])), dtype=np.float32)
    for number, scores in enumerate(logits):
        logs[:, bounds[number] : bounds[number + 1]] = scores.T
    for part in layout.slices:
        logs[part] -= logs[part].max(axis=0)
    return np.maximum(logs, np.float32(LOWEST), out=logs)


def _candidate_spans(layout: HeadLayout, logs: Singles, starts: Flags) -> tuple[Ints, Ints]:
    """Return the first pre-token and the length of each span that may contain a mention."""
    begin, inside, end, single = (logs[layout.label_tags(position)] for position in POSITIONS)
    outside = logs[layout.outside_tags]
    stay = np.maximum(outside, np.maximum.reduceat(single, layout.heads.first_label, axis=0))
    cuts = safe_cuts(begin, inside, end, stay[layout.heads.of_label], starts)
    first = np.flatnonzero(cuts)
    # If O is the best tag of all pre-tokens, the best sequence has no mention.
    candidate = np.logical_or.reduceat((outside < 0.0).any(axis=0), first)
    length = np.diff(first, append=len(starts))
    return first[candidate], length[candidate]


def _lattice_weights(layout: HeadLayout, laid_out: Floats, join: np.ufunc) -> Weights:
    """Return the lattice weights of the laid-out tags; `join` combines `O` and every `S`."""
    begin, inside, end, single = (laid_out[layout.label_tags(position)] for position in POSITIONS)
    staying = join.reduceat(single, layout.heads.first_label, axis=0)
    return Weights(begin, inside, end, join(laid_out[layout.outside_tags], staying))


@dataclass(frozen=True, slots=True, eq=False)
class FoundMentions:
    """Mentions by head, then position; labels are counted within their heads.

    All arrays have shape (mentions,); `first` and `last`, inclusive, count the pre-tokens of all
    texts concatenated.
    """

    head: Ints
    label: Ints
    first: Ints
    last: Ints
    score: Floats


def _mentions(layout: HeadLayout, logs: Singles, states: States) -> FoundMentions:
    """Extract the mentions from the states after every pre-token, (heads, pre-tokens)."""
    before = np.zeros_like(states)
    before[:, 1:] = states[:, :-1]
    single = np.zeros_like(states)
    for head, part in enumerate(layout.slices):
        best = logs[part.start].copy()
        for number, tag in enumerate(range(part.start + len(POSITIONS), part.stop, len(POSITIONS))):
            better = logs[tag] > best
            np.copyto(best, logs[tag], where=better)
            np.copyto(single[head], number + 1, where=better, casting="unsafe")
    single[(states | before) > 0] = 0
    head_of, first = np.nonzero(((before == 0) & (states > 0)) | (single > 0))
    _, last = np.nonzero(((before > 0) & (states == 0)) | (single > 0))
    label = np.maximum(states, single)[head_of, first].astype(np.int64) - 1
    return FoundMentions(head_of, label, first, last, np.zeros(len(first)))


def _scores(layout: HeadLayout, weights: Floats, steps: Steps, found: FoundMentions) -> Floats:
    """Return the marginal probability of each mention, shape (mentions,).

    :param weights: of the laid-out tags, (tags, columns)
    """
    outside, scale = outside_probability(
        _lattice_weights(layout, weights, np.add), steps, layout.heads
    )
    column = np.full(int(steps.pretokens.max()) + 1, -1)
    column[steps.pretokens] = np.arange(len(steps.pretokens))
    # Before the first pre-token of a span there is no column or another span ends: it is outside.
    before = np.where(
        np.isin(found.first, steps.pretokens[: steps.bounds[1]]),
        1.0,
        outside[found.head, column[found.first - 1]],
    )
    length = found.last - found.first + 1
    ends = np.cumsum(length)
    mention = np.repeat(np.arange(len(length)), length)
    pretoken = (
        np.arange(ends[-1] if len(ends) else 0) - (ends - length)[mention] + found.first[mention]
    )
    head = found.head[mention]
    tag = np.ones(len(pretoken), dtype=np.int64)  # I, except where a mention begins or ends
    tag[ends - length] = 0
    tag[ends - 1] = np.where(length == 1, 3, 2)
    tag += layout.outside_tags[head] + 1 + len(POSITIONS) * found.label[mention]
    along = weights[tag, column[pretoken]] / scale[head, column[pretoken]]
    if not len(along):
        return before
    product: Floats = before * np.multiply.reduceat(along, ends - length)
    return np.minimum(product, 1.0)


def runs_by_text(layout: HeadLayout, found: FoundMentions, bounds: Ints) -> list[list[DecodedRun]]:
    """Group mentions by text; text k has the pre-tokens `bounds[k]` to `bounds[k + 1]`."""
    text = np.searchsorted(bounds, found.first, side="right") - 1
    names = np.array(layout.labels, dtype=object)
    out: list[list[DecodedRun]] = [[] for _ in range(len(bounds) - 1)]
    for number, *fields in zip(
        text.tolist(),
        found.head.tolist(),
        names[layout.heads.first_label[found.head] + found.label].tolist(),
        (found.first - bounds[text]).tolist(),
        (found.last - bounds[text]).tolist(),
        found.score.tolist(),
        strict=True,
    ):
        out[number].append(DecodedRun(*fields))
    return out
