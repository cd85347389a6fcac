"""The tagger: loaded checkpoints that find mentions in texts, all heads in one encoder pass."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from schemas.errors import CheckpointError, RecordError
from schemas.manifest import CheckpointManifest, DriftReference
from schemas.records import Annotation, Mention
from schemas.tasks import Task
from worker.checkpoint.folder import read_manifest, set_id
from worker.decoding.cpu import decode, head_layout
from worker.decoding.gpu import PendingDecoding, decode_on_device, device_layout
from worker.decoding.mentions import mentions_of
from worker.decoding.overlap import mark_preferred
from worker.dictionary.tagger import load_dictionary
from worker.drift.tally import joined_reference
from worker.network.encoder import Encoder, load_encoder
from worker.system.batching import in_groups
from worker.system.pipelining import overlapped
from worker.text.packing import PackedBatch, pack_batch, to_device
from worker.text.tokenisation import WordPieces
from worker.text.windows import cut_windows, fill_batches

_CPU_BATCH: Final = 1536
_GPU_BATCH: Final = 32768
_GPU_PART: Final = 128
"""The number of texts sent to a GPU at once, about a batch. The next are tokenised meanwhile."""


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """Batching limits: rows of word pieces per batch, padding included, and the windows' overlap.

    Without a limit a batch has 1,536 rows on a CPU, which fit its caches, and 32,768 on a GPU.
    """

    max_batch_pieces: int | None = None
    overlap_pieces: int = 128


@dataclass(frozen=True, slots=True, eq=False)
class ScoredText:
    """A text's word pieces, and its pre-tokens' tag scores: shape (pre-tokens, tags), float32."""

    pieces: WordPieces
    scores: npt.NDArray[np.float32]


class CheckpointTagger:
    """One encoder checkpoint, loaded and immutable."""

    def __init__(self, encoder: Encoder, limits: BatchLimits) -> None:
        self.encoder = encoder
        self.id = encoder.checkpoint_id
        self.tasks = encoder.tasks
        self.reference = encoder.reference
        on_gpu = encoder.device.type == "cuda"
        self._batch_rows = limits.max_batch_pieces or (_GPU_BATCH if on_gpu else _CPU_BATCH)
        self._overlap = min(limits.overlap_pieces, (encoder.max_pieces - 2) // 4)
        self._layout = head_layout(encoder.tasks)
        self._tables = device_layout(self._layout, encoder.device) if on_gpu else None

    def read(self, texts: Sequence[str]) -> list[Annotation]:
        """Return each text's mentions, and its numbers of word pieces and unknown word pieces.

        Mentions are ordered by head and position, before the overlap policy.

        :raises RecordError: if a text holds a lone surrogate, or its scores are not finite.
        """
        # On a CPU there is nothing to overlap: tokenising and decoding use the encoder's cores.
        size = _GPU_PART if self._tables is not None else max(1, len(texts))
        parts = list(in_groups(texts, size))
        launched: list[Future[Tensor]] = []

        def launch(pieces: Sequence[WordPieces]) -> _PendingTexts:
            pending = self._launch(pieces)
            launched.extend(pending.scores)
            return pending

        encode = self.encoder.tokeniser.encode
        done = overlapped(parts, encode, launch, self._finish)
        try:
            return [found for part in done for found in part]
        finally:
            for scores in launched:
                scores.cancel()  # if another one failed

    def tag_scores(self, texts: Sequence[str]) -> list[ScoredText]:
        """Return each text's tag scores, the input of `worker.decoding.cpu.decode`.

        All texts are in memory at once.

        :raises RecordError: if a text holds a lone surrogate, or its scores are not finite.
        """
        return self.piece_scores(self.encoder.tokeniser.encode(texts))

    def piece_scores(self, texts: Sequence[WordPieces]) -> list[ScoredText]:
        """Return the tag scores of texts that this checkpoint's tokeniser has already tokenised.

        :raises RecordError: if its scores are not finite.
        """
        pending = self._begin(texts)
        table = pending.table(self._layout.width, self.encoder.device).cpu().numpy()
        if not np.isfinite(table).all():
            raise self._not_finite_error()
        return [
            ScoredText(pieces, table[begin:end])
            for pieces, (begin, end) in zip(
                pending.texts, pairwise(pending.bounds.tolist()), strict=True
            )
        ]

    def _launch(self, texts: Sequence[WordPieces]) -> "_PendingTexts":
        """Start to score texts, and on a GPU to decode them, without waiting."""
        pending = self._begin(texts)
        if self._tables is None:
            return pending
        scores = pending.table(self._layout.width, self.encoder.device)
        lines = np.concatenate([text.line_lengths for text in texts])
        decoding = decode_on_device(self._tables, scores, np.diff(pending.bounds), lines)
        return replace(pending, decoding=decoding)

    def _begin(self, texts: Sequence[WordPieces]) -> "_PendingTexts":
        """Start to score texts, without waiting."""
        encoder, tokeniser = self.encoder, self.encoder.tokeniser
        windows = [
            window
            for number, pieces in enumerate(texts)
            for window in cut_windows(number, len(pieces), encoder.max_pieces, self._overlap)
        ]
        # The number of pre-tokens that begin before each piece, over all texts.
        before = np.cumsum(np.concatenate([[False], *(pieces.first for pieces in texts)]))
        begins = np.cumsum([0, *(len(pieces) for pieces in texts)])
        pretokens: list[npt.NDArray[np.int64]] = []

        def packed() -> Iterator[PackedBatch]:
            for batch in fill_batches(
                windows,
                self._batch_rows,
                least_rows=encoder.grid.least_rows,
                to_longest=encoder.grid.to_longest,
            ):
                one = pack_batch(
                    batch,
                    texts,
                    start_id=tokeniser.start_id,
                    end_id=tokeniser.end_id,
                    pad_id=tokeniser.pad_id,
                    grid=encoder.grid,
                )
                firsts = np.array([before[begins[w.text] + w.keep_start] for w in batch])
                shifts = firsts - (np.cumsum(one.counts) - one.counts)
                pretokens.append(np.arange(len(one.select)) + np.repeat(shifts, one.counts))
                yield one

        return _PendingTexts(texts, before[begins], encoder.begin(packed()), pretokens)

    def _finish(self, pending: "_PendingTexts") -> list[Annotation]:
        if pending.decoding is not None:
            found = pending.decoding.result()
        else:
            table = pending.table(self._layout.width, self.encoder.device).numpy()
            parts = pairwise(pending.bounds.tolist())
            finite = np.isfinite(table).all()
            lines = [text.line_lengths for text in pending.texts]
            found = decode(self._layout, [table[a:b] for a, b in parts], lines) if finite else None
        if found is None:
            raise self._not_finite_error()
        unknown = self.encoder.tokeniser.unknown_id
        return [
            Annotation(
                tuple(
                    mentions_of(
                        self.tasks,
                        text,
                        runs,
                        checkpoint_id=self.id,
                        calibration=self.encoder.calibration,
                    )
                ),
                word_pieces=len(text),
                unknown_pieces=int(np.count_nonzero(text.ids == unknown)),
            )
            for text, runs in zip(pending.texts, found, strict=True)
        ]

    def _not_finite_error(self) -> RecordError:
        return RecordError(
            f"checkpoint {self.id} gives scores that are not finite for this text; if other "
            "texts fail too, its weights overflow: train or export it again"
        )


@dataclass(frozen=True, slots=True, eq=False)
class _PendingTexts:
    """Texts whose scores are being computed.

    Text k has the pre-tokens `bounds[k]` to `bounds[k + 1]`, shape (texts + 1,); `scores` holds the
    batches' tag scores, and `pretokens` the indices of the pre-tokens that they belong to.
    """

    texts: Sequence[WordPieces]
    bounds: npt.NDArray[np.int64]
    scores: Sequence[Future[Tensor]]
    pretokens: Sequence[npt.NDArray[np.int64]]
    decoding: PendingDecoding | None = None

    def table(self, width: int, device: torch.device) -> Tensor:
        """Return the tag scores of every pre-token, shape (pre-tokens, tags), on the device."""
        parts = [scores.result() for scores in self.scores]
        out = torch.empty((int(self.bounds[-1]), width), device=device)
        if parts:
            out[to_device(np.concatenate(self.pretokens), device)] = torch.cat(parts)
        return out


class Model(Protocol):
    """One loaded checkpoint of any kind."""

    @property
    def id(self) -> str:
        """The checkpoint's id."""

    @property
    def tasks(self) -> tuple[Task, ...]:
        """The heads."""

    @property
    def reference(self) -> DriftReference | None:
        """The drift reference; None if the manifest has none."""

    def read(self, texts: Sequence[str]) -> list[Annotation]:
        """Return each text's mentions, before the overlap policy, and its number of word pieces.

        For a checkpoint without word pieces, pre-tokens are counted.
        """


class Tagger:
    """One or several loaded checkpoints; immutable. Each makes one pass over the text.

    `reference` is the merged drift reference of the models; None if none has one.
    """

    reference: DriftReference | None = None

    def __init__(self, models: Sequence[Model]) -> None:
        if not models:
            raise CheckpointError("a tagger needs at least one checkpoint")
        heads: dict[str, str] = {}
        for model in models:
            for task in model.tasks:
                if task.name in heads:
                    raise CheckpointError(
                        f"two checkpoints have the head {task.name!r} ({heads[task.name]} and "
                        f"{model.id}); give only one of them"
                    )
                heads[task.name] = model.id
        self._models = tuple(models)
        self.id = set_id([model.id for model in models])
        self.tasks: tuple[Task, ...] = tuple(task for model in models for task in model.tasks)
        self.reference = joined_reference([model.reference for model in models])

    def annotate(self, texts: Sequence[str]) -> list[Annotation]:
        """Find the mentions of every head in each text.

        Offsets are code points into the text. The output depends only on `texts`.

        :raises RecordError: if a text holds a lone surrogate.
        """
        found: list[list[Mention]] = [[] for _ in texts]
        pieces, unknown = [0] * len(texts), [0] * len(texts)
        for model in self._models:
            for number, one in enumerate(model.read(texts)):
                found[number].extend(one.mentions)
                pieces[number] += one.word_pieces
                unknown[number] += one.unknown_pieces
        return [
            Annotation(mark_preferred(mentions), word_pieces=count, unknown_pieces=unknown_count)
            for mentions, count, unknown_count in zip(found, pieces, unknown, strict=True)
        ]


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """How encoders run; the values are those of `load_tagger`."""

    device: str
    threads: int | None
    precision: str
    limits: BatchLimits


class CheckpointKind(Protocol):
    """A kind of checkpoint."""

    def __call__(self, path: Path, manifest: CheckpointManifest, options: LoadOptions, /) -> Model:
        """Load the checkpoint in the folder `path`, whose files `read_manifest` verified."""


def _load_encoder(path: Path, manifest: CheckpointManifest, options: LoadOptions) -> Model:
    encoder = load_encoder(
        path,
        device=options.device,
        threads=options.threads,
        precision=options.precision,
        manifest=manifest,
    )
    return CheckpointTagger(encoder, options.limits)


KINDS: Final[Mapping[str, CheckpointKind]] = {
    "encoder": _load_encoder,
    "dictionary": lambda path, manifest, _: load_dictionary(path, manifest),
}
"""The kinds of checkpoints, as their manifests name them."""


def load_tagger(
    paths: Sequence[Path],
    *,
    device: str = "auto",
    threads: int | None = None,
    precision: str = "auto",
    limits: BatchLimits | None = None,
) -> Tagger:
    """Load and verify checkpoints, each an encoder or a dictionary.

    Device, threads, precision and limits apply to encoders.

    :param device: `cpu`, `cuda`, `cuda:1`, …; `auto` uses a GPU if there is one
    :param threads: how many CPU threads the encoder uses; None leaves the library's own choice
    :param precision: `fp32`, `bf16`, or `auto` for bf16 if the device computes it natively
    :raises CheckpointError: if a checkpoint is missing, altered, contradicts its manifest, or two
        have the same head.
    """
    options = LoadOptions(device, threads, precision, limits or BatchLimits())

    def load(path: Path) -> Model:
        manifest = read_manifest(path)
        return KINDS[manifest.kind](path, manifest, options)

    return Tagger([load(path) for path in paths])
