"""The tagger: loaded checkpoints that turn texts into mentions, all heads in one encoder pass."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt

from schemas.errors import CheckpointError
from schemas.manifest import ID_LENGTH
from schemas.records import Annotation, Mention
from schemas.tasks import Task
from worker.decoding import HeadLayout, decode, head_layout
from worker.encoder import Encoder, load_encoder
from worker.overlap import mark_preferred
from worker.tokenisation import WordPieces
from worker.windows import cut_windows, fill_batches, pad_batch

_DECODE_TEXTS = 32
_DECODE_STEPS = 1024
_SEARCH = 256


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """How work is cut: word pieces a batch (padding included) and the windows' overlap."""

    max_batch_pieces: int = 4096
    overlap_pieces: int = 128


class CheckpointTagger:
    """One encoder checkpoint, loaded and immutable."""

    def __init__(self, encoder: Encoder, limits: BatchLimits) -> None:
        self.encoder = encoder
        self.id = encoder.checkpoint_id
        self.tasks = encoder.tasks
        self._layout = head_layout(encoder.tasks)
        self._limits = limits

    def read(self, texts: Sequence[str]) -> list[tuple[list[Mention], int]]:
        """Return each text's mentions, and how many word pieces it has.

        Mentions come by head and position, before the overlap policy.
        """
        pieces = self.encoder.tokeniser.encode(texts)
        scores = self._scores(pieces)
        return [
            (self._mentions(text, runs), len(text))
            for text, runs in zip(pieces, _decode_all(self._layout, scores), strict=True)
        ]

    def _scores(self, texts: Sequence[WordPieces]) -> list[npt.NDArray[np.float32]]:
        """Score the tags of every pre-token; one array of shape (pre-tokens, tags) a text."""
        limits, tokeniser = self._limits, self.encoder.tokeniser
        overlap = min(limits.overlap_pieces, (self.encoder.max_pieces - 2) // 4)
        windows = [
            window
            for number, pieces in enumerate(texts)
            for window in cut_windows(number, len(pieces), self.encoder.max_pieces, overlap)
        ]
        before = [np.concatenate(([0], np.cumsum(pieces.first))) for pieces in texts]
        out = [
            np.empty((int(firsts[-1]), self._layout.width), dtype=np.float32) for firsts in before
        ]
        for batch in fill_batches(windows, limits.max_batch_pieces):
            padded = pad_batch(
                batch,
                texts,
                start_id=tokeniser.start_id,
                end_id=tokeniser.end_id,
                pad_id=tokeniser.pad_id,
            )
            logits = self.encoder.logits(padded)
            row = 0
            for window, count in zip(batch, padded.counts.tolist(), strict=True):
                place = int(before[window.text][window.keep_start])
                out[window.text][place : place + count] = logits[row : row + count]
                row += count
        return out

    def _mentions(self, pieces: WordPieces, runs: Sequence["TextRun"]) -> list[Mention]:
        starts, ends = pieces.pretoken_starts, pieces.pretoken_ends
        return [
            Mention(
                task=self.tasks[run.head].name,
                label=run.label,
                entity_type=self.tasks[run.head].entity_type(run.label),
                start=int(starts[run.first]),
                end=int(ends[run.last]),
                score=run.score,
                preferred=True,
                checkpoint_id=self.id,
            )
            for run in runs
        ]


class Tagger:
    """One or several loaded checkpoints, immutable; each is one encoder pass over the text."""

    def __init__(self, members: Sequence[CheckpointTagger]) -> None:
        if not members:
            raise CheckpointError("a tagger needs at least one checkpoint")
        heads: dict[str, str] = {}
        for member in members:
            for task in member.tasks:
                if task.name in heads:
                    raise CheckpointError(
                        f"two checkpoints have the head {task.name!r} ({heads[task.name]} and "
                        f"{member.id}); give only one of them"
                    )
                heads[task.name] = member.id
        self._members = tuple(members)
        self.id = set_id([member.id for member in members])
        self.tasks: tuple[Task, ...] = tuple(task for member in members for task in member.tasks)

    def annotate(self, texts: Sequence[str]) -> list[Annotation]:
        """Find the mentions of every head in each text.

        Offsets are code points into the text. The output depends on the list alone.

        :raises RecordError: if a text holds a lone surrogate.
        """
        found: list[list[Mention]] = [[] for _ in texts]
        counts = [0] * len(texts)
        for member in self._members:
            for number, (mentions, pieces) in enumerate(member.read(texts)):
                found[number].extend(mentions)
                counts[number] += pieces
        return [
            Annotation(mark_preferred(mentions), word_pieces=pieces)
            for mentions, pieces in zip(found, counts, strict=True)
        ]


@dataclass(frozen=True, slots=True)
class TextRun:
    """A decoded mention as pre-token numbers of its whole text, `first` to `last` inclusive."""

    head: int
    label: str
    first: int
    last: int
    score: float


def set_id(checkpoint_ids: Sequence[str]) -> str:
    """Return one checkpoint's id, or of a set the digest of its sorted ids."""
    if len(checkpoint_ids) == 1:
        return checkpoint_ids[0]
    return hashlib.sha256("\n".join(sorted(checkpoint_ids)).encode()).hexdigest()[:ID_LENGTH]


def load_tagger(
    paths: Sequence[Path],
    *,
    device: str = "auto",
    threads: int | None = None,
    precision: str = "auto",
    limits: BatchLimits | None = None,
) -> Tagger:
    """Load and verify checkpoints.

    :param device: `cpu`, `cuda`, `cuda:1`, …; `auto` takes a GPU where there is one
    :param threads: how many CPU threads the encoder uses; None leaves the library's own choice
    :param precision: `fp32`, `bf16`, or `auto` for bf16 where the device computes it natively
    :raises CheckpointError: if a checkpoint is missing, altered, contradicts its manifest, or two
        have the same head.
    """
    limits = limits or BatchLimits()
    return Tagger(
        [
            CheckpointTagger(
                load_encoder(path, device=device, threads=threads, precision=precision), limits
            )
            for path in paths
        ]
    )


def _decode_all(
    layout: HeadLayout, scores: Sequence[npt.NDArray[np.float32]]
) -> list[list[TextRun]]:
    """Decode texts in groups of like length; very long ones in parts.

    A long text is cut where every head is surest of `O`, within reach of every thousandth
    pre-token, since a mention never crosses such a place.
    """
    parts = []
    for number, logits in enumerate(scores):
        bounds = _cut_places(layout, logits)
        parts += [(number, start, logits[start:stop]) for start, stop in pairwise(bounds)]
    order = sorted(range(len(parts)), key=lambda number: len(parts[number][2]))
    out: list[list[TextRun]] = [[] for _ in scores]
    for begin in range(0, len(order), _DECODE_TEXTS):
        group = [parts[number] for number in order[begin : begin + _DECODE_TEXTS]]
        for (text, start, _), runs in zip(
            group, decode(layout, [part[2] for part in group]), strict=True
        ):
            out[text] += [
                TextRun(run.head, run.label, start + run.first, start + run.last, run.score)
                for run in runs
            ]
    for found in out:
        found.sort(key=lambda run: (run.head, run.first))
    return out


def _cut_places(layout: HeadLayout, logits: npt.NDArray[np.float32]) -> list[int]:
    """Return the bounds of the parts in which `logits`, (pre-tokens, tags), is decoded."""
    total = len(logits)
    bounds = [0]
    while total - bounds[-1] > _DECODE_STEPS + _SEARCH:
        low = bounds[-1] + _DECODE_STEPS
        near = logits[low : low + _SEARCH]
        sure = np.min(
            [
                near[:, part.start] - near[:, part.start + 1 : part.stop].max(axis=1)
                for part in layout.slices
            ],
            axis=0,
        )
        bounds.append(low + int(sure.argmax()))
    return [*bounds, total]
