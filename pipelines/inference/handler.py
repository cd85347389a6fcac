"""The model handler for RunInference, from blocks of citations to annotated blocks."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import groupby
from pathlib import Path
from typing import Any

from apache_beam.ml.inference.base import ModelHandler

from pipelines.blocks.elements import AnnotatedBlock, AnnotatedCitation, ReadBlock
from pipelines.blocks.failures import failed_record
from pipelines.inference.checkpoints import Checkpoints
from pipelines.inference.shared_tagger import SharedTagger, log_swap
from pipelines.telemetry.metrics import NAMESPACE, count, observe
from pipelines.telemetry.run_channel import WorkerChannel
from schemas.records import Annotation, DeadLetter, Stage
from worker.network.memory import keep_from_collector
from worker.readers.formats import ReadRecord
from worker.registry.follow import FixedTagger, TaggerSource, open_source
from worker.tagger import Tagger, load_tagger


class AnnotateHandler(ModelHandler[ReadBlock, AnnotatedBlock, SharedTagger]):
    """Runs every head of a tagger over the citations of a block, in one encoder pass each.

    Texts are passed to the tagger in chunks: the citations of `chunk_size` consecutive offsets,
    counted from the block's start. So batches depend on offsets alone, and a replay gives equal
    results. Texts are truncated to `max_text_chars` code points.

    If the checkpoint is a registry's active one, it may change between two blocks, never within
    one: each block is annotated by one tagger, and stores its id.
    """

    def __init__(
        self,
        checkpoints: Checkpoints,
        *,
        device: str,
        threads: int | None,
        chunk_size: int,
        max_text_chars: int | None,
        clock: Callable[[], datetime],
        channel: WorkerChannel,
    ) -> None:
        super().__init__(min_batch_size=1, max_batch_size=1)
        self.checkpoints = checkpoints
        self.device = device
        self.threads = threads
        self.chunk_size = chunk_size
        self.max_text_chars = max_text_chars
        self.clock = clock
        self.channel = channel

    def load_model(self) -> SharedTagger:
        """Load and verify the checkpoints."""
        with self.channel.watching():
            registered = self.checkpoints.registered
            source: TaggerSource
            if registered is None:
                source = FixedTagger(self._load(self.checkpoints.folders))
            else:
                source = open_source(
                    registered, load=lambda path: self._load([path]), on_event=log_swap
                )
        keep_from_collector()
        self.channel.report(models=1)
        return SharedTagger(source)

    def _load(self, folders: Sequence[Path]) -> Tagger:
        return load_tagger(folders, device=self.device, threads=self.threads)

    def run_inference(
        self,
        batch: Sequence[ReadBlock],
        model: SharedTagger,
        inference_args: Mapping[str, Any] | None = None,  # noqa: ARG002 - Beam's signature
    ) -> list[AnnotatedBlock]:
        """Annotate each block; only documents that fail become dead letters."""
        with self.channel.watching():
            return [self._annotate_next(block, model) for block in batch]

    def _annotate_next(self, block: ReadBlock, model: SharedTagger) -> AnnotatedBlock:
        tagger = model.acquire()
        annotated = self.annotate_block(block, tagger)
        model.drift.observe(annotated, tagger)
        return annotated

    def annotate_block(self, block: ReadBlock, tagger: Tagger) -> AnnotatedBlock:
        """Return `block` annotated by `tagger`."""
        citations: list[AnnotatedCitation] = []
        dead_letters = list(block.dead_letters)
        chunks = groupby(
            block.citations, lambda item: (item.offset - block.header.key.start) // self.chunk_size
        )
        for _, items in chunks:
            self.channel.check()
            chunk = list(items)
            begun = time.monotonic()
            done, failed = self._annotate_chunk(chunk, tagger)
            self._observe(chunk, done, seconds=time.monotonic() - begun)
            citations += done
            dead_letters += [
                failed_record(block.header.key, item, Stage.ANNOTATE, error, self.clock())
                for item, error in failed
            ]
            self.channel.report(citations=len(chunk))
        self._count(block, citations, dead_letters)
        return AnnotatedBlock(
            header=block.header,
            checkpoint_id=tagger.id,
            annotated_at=self.clock(),
            citations=tuple(citations),
            dead_letters=tuple(dead_letters),
        )

    def get_num_bytes(self, batch: Sequence[ReadBlock]) -> int:
        """Return the size of the texts, in code points; Beam's default would pickle the batch."""
        return sum(len(item.citation.text or "") for block in batch for item in block.citations)

    def get_metrics_namespace(self) -> str:
        """Return the namespace of RunInference's own metrics."""
        return NAMESPACE

    def _annotate_chunk(
        self, chunk: Sequence[ReadRecord], tagger: Tagger
    ) -> tuple[list[AnnotatedCitation], list[tuple[ReadRecord, Exception]]]:
        """Annotate a chunk as one batch; if that fails, each document alone."""
        try:
            return self._annotate(chunk, tagger), []
        except Exception as error:
            if len(chunk) == 1:
                return [], [(chunk[0], error)]
        done: list[AnnotatedCitation] = []
        failed: list[tuple[ReadRecord, Exception]] = []
        for item in chunk:
            self.channel.check()
            one, none = self._annotate_chunk([item], tagger)
            done += one
            failed += none
        return done, failed

    def _annotate(self, chunk: Sequence[ReadRecord], tagger: Tagger) -> list[AnnotatedCitation]:
        texts = [item.citation.text for item in chunk]
        limit = self.max_text_chars
        found = iter(tagger.annotate([text[:limit] for text in texts if text is not None]))
        annotations: list[Annotation | None] = []
        for text in texts:
            if text is None:
                annotations.append(None)
                continue
            annotation = next(found)
            if limit is not None and len(text) > limit:
                annotation = replace(annotation, truncated=True)
            annotations.append(annotation)
        return [
            AnnotatedCitation(item.offset, item.citation, annotation, item.message)
            for item, annotation in zip(chunk, annotations, strict=True)
        ]

    def _count(
        self,
        block: ReadBlock,
        citations: Sequence[AnnotatedCitation],
        dead_letters: Sequence[DeadLetter],
    ) -> None:
        count("records", len(block.citations) + len(block.dead_letters))
        count("citations", len(citations))
        mentions = sum(len(x.annotation.mentions) for x in citations if x.annotation is not None)
        count("mentions", mentions)
        for failed in dead_letters:
            count(f"dead_letters_{failed.stage}")

    @staticmethod
    def _observe(
        chunk: Sequence[ReadRecord], done: Sequence[AnnotatedCitation], *, seconds: float
    ) -> None:
        count("batches")
        observe("batch_citations", len(chunk))
        pieces = sum(x.annotation.word_pieces for x in done if x.annotation is not None)
        observe("batch_word_pieces", pieces)
        observe("inference_milliseconds", round(1000 * seconds))
