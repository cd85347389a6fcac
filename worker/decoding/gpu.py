"""Constrained decoding on the device: the lattice of `worker.decoding.cpu` as prefix scans.

A pre-token is a small matrix of weights from the state before it to the state after it, so messages
are prefix products, the best path is a composition of maps, and no loop runs over pre-tokens. A
line's last pre-token cannot enter or stay in a mention; so lines, and therefore texts, are
independent, and all texts of a batch are decoded as one sequence.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import pad

from schemas.tags import POSITIONS
from worker.decoding.cpu import LOWEST, DecodedRun, FoundMentions, HeadLayout, runs_by_text
from worker.decoding.prefix_scan import join_best, join_maps, join_sums, scan
from worker.text.packing import to_device
from worker.text.windows import split_runs

_LABEL_CODES = 256
_GROUP_PRETOKENS = 1 << 16
"""The number of pre-tokens decoded at once; with five heads each needs about 10 kB."""


@dataclass(frozen=True, slots=True, eq=False)
class DeviceLayout:
    """A head layout's index tables on a device; heads with fewer labels than others are padded.

    `outside` has shape (heads,): the index of `O`. `tags` has shape (4, heads, labels): the indices
    of B, I, E, S; those of a padding label are one past the last tag.
    """

    layout: HeadLayout
    outside: Tensor
    tags: Tensor


def device_layout(layout: HeadLayout, device: torch.device) -> DeviceLayout:
    """Copy the tables of `layout` to `device`, once for all batches."""
    labels = max((len(task.labels) for task in layout.tasks), default=0)
    tags = np.full((len(POSITIONS), len(layout.tasks), labels), layout.width)
    for head, part in enumerate(layout.slices):
        own = np.arange(part.start + 1, part.stop).reshape(-1, len(POSITIONS))
        tags[:, head, : len(own)] = own.T
    outside = torch.from_numpy(layout.outside_tags).to(device)
    return DeviceLayout(layout, outside, torch.from_numpy(tags).to(device))


@dataclass(frozen=True, slots=True, eq=False)
class PendingDecoding:
    """A pending decoding on a device: host tensors to be filled, and the event that signals it."""

    tables: DeviceLayout
    counts: npt.NDArray[np.int64]
    packed: Tensor
    finite: Tensor
    done: torch.cuda.Event | None

    def result(self) -> list[list[DecodedRun]] | None:
        """Wait, and return the mentions of each text, in order of head and position.

        None if a score was not finite: then no text's mentions are reliable.
        """
        if self.done is not None:
            self.done.synchronize()
        if not self.finite:
            return None
        return read_mentions(self.tables.layout, self.packed.numpy(), self.counts)


def decode_on_device(
    tables: DeviceLayout,
    logits: Tensor,
    counts: npt.NDArray[np.int64] | Sequence[int],
    lines: npt.NDArray[np.int64] | Sequence[int] | None = None,
) -> PendingDecoding:
    """Start to decode the texts of a batch, without waiting for a GPU.

    :param logits: the pre-tokens of all texts concatenated, shape (pre-tokens, tags)
    :param counts: how many pre-tokens each text has, shape (texts,)
    :param lines: how many each line of all texts in turn has, shape (lines,): no mention crosses
        from one line into the next. Without it each text is one line.
    """
    counts = np.asarray(counts, dtype=np.int64)
    lines = counts if lines is None else np.asarray(lines, dtype=np.int64)
    on_device = to_device(lines, logits.device)
    if not logits.numel():
        nothing = torch.zeros((2, len(tables.layout.tasks), 0), dtype=torch.int32)
        return PendingDecoding(tables, counts, nothing, torch.tensor(True), None)
    parts, row = [], 0
    for group in split_runs(lines.tolist(), _GROUP_PRETOKENS):
        rows = int(lines[group].sum())
        parts.append(decode_tensors(tables, logits[row : row + rows], on_device[group]))
        row += rows
    packed, finite = torch.cat(parts, dim=-1), torch.isfinite(logits).all()
    if logits.device.type != "cuda":
        return PendingDecoding(tables, counts, packed.cpu(), finite.cpu(), None)
    on_host = _begin_copy(packed), _begin_copy(finite)
    done = torch.cuda.Event()
    done.record()
    return PendingDecoding(tables, counts, *on_host, done)


def _begin_copy(tensor: Tensor) -> Tensor:
    """Start a copy from the device; return the host tensor, which is filled later."""
    host = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
    return host.copy_(tensor, non_blocking=True)


def read_mentions(
    layout: HeadLayout, packed: npt.NDArray[np.int32], counts: npt.NDArray[np.int64]
) -> list[list[DecodedRun]]:
    """Extract the mentions from the output of `decode_tensors`, on the host."""
    head, first = np.nonzero(packed[0])
    code = packed[0, head, first].astype(np.int64)
    scores = packed[1, head, first].view(np.float32).astype(np.float64)
    found = FoundMentions(
        head, code % _LABEL_CODES - 1, first, first + code // _LABEL_CODES, np.minimum(scores, 1.0)
    )
    return runs_by_text(layout, found, np.concatenate(([0], np.cumsum(counts))))


def decode_tensors(tables: DeviceLayout, logits: Tensor, lines: Tensor) -> Tensor:
    """Decode a batch on its device, without synchronising with the host.

    :param logits: shape (pre-tokens, tags), at least one pre-token
    :param lines: how many pre-tokens each line has, shape (lines,), on the same device
    :return: shape (2, heads, pre-tokens), int32. Where a mention begins, the first row holds its
        label's number from 1 plus 256 times (its length - 1), and the second the bits of its
        float32 score; the first row is 0 elsewhere.
    """
    lattice = _lattice(tables, logits, lines)
    before, after = _best_states(lattice)
    outside, scale = _outside_probability(lattice)
    choice = torch.cat([lattice.outside[:, None], lattice.single], dim=1).argmax(dim=1)
    single = torch.where((before == 0) & (after == 0), choice, 0)
    begins = ((before == 0) & (after > 0)) | (single > 0)
    ends = ((before > 0) & (after == 0)) | (single > 0)
    state = torch.maximum(torch.maximum(before, after), single)
    label = (state - 1).clamp(min=0)[:, None]
    weight = torch.where(
        single > 0,
        lattice.single.gather(1, label)[:, 0],
        torch.where(
            begins,
            lattice.begin.gather(1, label)[:, 0],
            torch.where(
                ends, lattice.end.gather(1, label)[:, 0], lattice.inside.gather(1, label)[:, 0]
            ),
        ),
    )
    along = torch.where(state > 0, weight - scale.log(), 0.0).cumsum(dim=-1)
    along = pad(along, (1, 0))
    index = torch.arange(logits.shape[0], device=logits.device).expand_as(ends)
    last = torch.where(ends, index, logits.shape[0] - 1).flip(-1).cummin(dim=-1).values.flip(-1)
    outside_before = pad(outside, (1, 0), value=1.0)[:, :-1]
    score = outside_before * (along.gather(1, last + 1) - along[:, :-1]).exp()
    code = torch.where(begins, state + _LABEL_CODES * (last - index), 0)
    return torch.stack([code.int(), score.float().view(torch.int32)])


@dataclass(frozen=True, slots=True, eq=False)
class _Lattice:
    """Log weights minus those of the head's best tag, float64; -inf for padding labels.

    `outside` has shape (heads, pre-tokens); the others (heads, labels, pre-tokens); `last`, which
    is true at the last pre-token of each line, (pre-tokens,).
    """

    outside: Tensor
    begin: Tensor
    inside: Tensor
    end: Tensor
    single: Tensor
    last: Tensor

    def matrices(self, stay: Tensor) -> Tensor:
        """Return the logs of every pre-token's matrix, (states, states, heads, pre-tokens)."""
        heads, labels, length = self.begin.shape
        out = stay.new_full((labels + 1, labels + 1, heads, length), -torch.inf)
        out[0, 0] = stay
        out[0, 1:] = self.begin.transpose(0, 1)
        out[1:, 0] = self.end.transpose(0, 1)
        out[1:, 1:].diagonal(dim1=0, dim2=1).copy_(self.inside.permute(0, 2, 1))
        return out


def _lattice(tables: DeviceLayout, logits: Tensor, lines: Tensor) -> _Lattice:
    scores = logits.float()
    heads = [
        scores[:, part] - scores[:, part].amax(dim=1, keepdim=True) for part in tables.layout.slices
    ]
    logs = torch.cat(heads, dim=1).double().clamp(min=LOWEST).T
    logs = pad(logs, (0, 0, 0, 1), value=-torch.inf)
    line_ends = torch.zeros(logits.shape[0] + 1, dtype=torch.bool, device=logits.device)
    last = line_ends.index_fill(0, lines.cumsum(0), True)[1:]
    begin, inside, end, single = logs[tables.tags]
    return _Lattice(
        outside=logs[tables.outside],
        begin=begin.masked_fill(last, -torch.inf),
        inside=inside.masked_fill(last, -torch.inf),
        end=end,
        single=single,
        last=last,
    )


def _best_states(lattice: _Lattice) -> tuple[Tensor, Tensor]:
    """Return the state of each head before and after every pre-token on the best path.

    Both have shape (heads, pre-tokens): 0 outside, k inside the head's label number k.
    """
    stay = torch.maximum(lattice.outside, lattice.single.amax(dim=1))
    reach = scan(lattice.matrices(stay), join_best)[0].transpose(0, 1)  # heads, states, pre-tokens
    weight_before = torch.full_like(reach, -torch.inf)
    weight_before[..., 1:] = reach[..., :-1]
    weight_before[:, 0, 0] = 0.0
    inside = (weight_before[:, 1:] + lattice.inside) > (weight_before[:, :1] + lattice.begin)
    labels = torch.arange(1, reach.shape[1], device=reach.device)[:, None]
    leaving = torch.cat(
        [(weight_before[:, 0] + stay)[:, None], weight_before[:, 1:] + lattice.end], dim=1
    )
    came_outside = leaving.argmax(dim=1, keepdim=True)
    came = torch.cat([came_outside, torch.where(inside, labels, 0)], dim=1)
    came = torch.where(lattice.last, came_outside, came)  # after a line every head is outside
    steps = came.transpose(0, 1).flip(-1)
    before = scan(steps, join_maps)[0].flip(-1)
    return before, pad(before, (0, 1))[:, 1:]


def _outside_probability(lattice: _Lattice) -> tuple[Tensor, Tensor]:
    """Return the result of `lattice.outside_probability`; both of shape (heads, pre-tokens)."""
    staying = torch.cat([lattice.outside[:, None], lattice.single], dim=1).exp().sum(dim=1)
    matrices = lattice.matrices(staying.log()).exp()
    both = torch.stack([matrices, matrices.transpose(0, 1).flip(-1)], dim=2)
    messages = scan(both, join_sums)[0]
    ratios = (messages[1:] / messages[0]).transpose(0, 2)  # heads, both ways, labels, pre-tokens
    forward = ratios[:, 0]
    backward = pad(ratios[:, 1].flip(-1), (0, 1))[..., 1:]
    outside = 1.0 / (1.0 + (forward * backward).sum(dim=1))
    return outside, staying + (lattice.begin.exp() * backward).sum(dim=1)
