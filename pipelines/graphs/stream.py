"""Beam graph of a stream: slices of blocks to annotated slices to writes to committed offsets.

The steps from reading to writing are fused, as in batch. Only the short acknowledgement of a write
is shuffled between workers, to the step that commits offsets.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime

import apache_beam as beam
from apache_beam.ml.inference.base import RunInference
from apache_beam.pvalue import PCollection

from pipelines.blocks.elements import AnnotatedBlock, ReadBlock, WrittenBlock
from pipelines.graphs.annotate import RefuseUnstorable
from pipelines.graphs.coders import register_coders
from pipelines.inference.handler import AnnotateHandler
from pipelines.kafka.access import KafkaAccess
from pipelines.kafka.commits import CommitOffsets
from pipelines.kafka.dead_letter_topic import DeadLetterTopic
from pipelines.kafka.decode import decode_slice
from pipelines.kafka.drain import DrainSignal
from pipelines.kafka.ranges import OffsetRange, RangeReader
from pipelines.kafka.slices import RawSlice
from pipelines.kafka.source import KafkaSource
from pipelines.kafka.splits import ReadSplits
from pipelines.output.writer import BlockWriter
from pipelines.telemetry.metrics import count, observe
from pipelines.telemetry.run_channel import WorkerChannel


@beam.typehints.with_input_types(OffsetRange)
@beam.typehints.with_output_types(RawSlice)
class ReadRanges(beam.DoFn):
    """Reads offset ranges; after a drain request, it skips them."""

    def __init__(
        self,
        access: KafkaAccess,
        drain: DrainSignal,
        channel: WorkerChannel,
        *,
        block_size: int,
        read_committed: bool,
        timeout_seconds: float,
    ) -> None:
        self.access = access
        self.drain = drain
        self.channel = channel
        self.block_size = block_size
        self.read_committed = read_committed
        self.timeout_seconds = timeout_seconds

    def setup(self) -> None:
        """Create the reader, which connects on first use."""
        self._reader = RangeReader(
            self.access,
            block_size=self.block_size,
            read_committed=self.read_committed,
            timeout_seconds=self.timeout_seconds,
            clock=time.monotonic,
        )

    def process(self, element: OffsetRange) -> Iterator[RawSlice]:
        """Yield the slices of one range."""
        if self.drain.requested(time.monotonic()):
            return
        with self.channel.watching():
            yield from self._reader.read(element)

    def teardown(self) -> None:
        """Close the consumer."""
        self._reader.close()


@beam.typehints.with_input_types(RawSlice)
@beam.typehints.with_output_types(ReadBlock)
class DecodeSlice(beam.DoFn):
    """Decodes messages into citations, tombstones and dead letters."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self.clock = clock

    def process(self, element: RawSlice) -> Iterator[ReadBlock]:
        """Decode one slice."""
        yield decode_slice(element, self.clock)


@beam.typehints.with_input_types(AnnotatedBlock)
@beam.typehints.with_output_types(WrittenBlock)
class WriteSlice(beam.DoFn):
    """Merges a slice into its block; a gap writes no file."""

    def __init__(
        self, writer: BlockWriter, dead_letter_topic: DeadLetterTopic | None, channel: WorkerChannel
    ) -> None:
        self.writer = writer
        self.dead_letter_topic = dead_letter_topic
        self.channel = channel

    def process(self, element: AnnotatedBlock) -> Iterator[WrittenBlock]:
        """Write one slice."""
        with self.channel.watching():
            yield self._write(element)

    def teardown(self) -> None:
        """Close the producer of the dead-letter topic."""
        if self.dead_letter_topic is not None:
            self.dead_letter_topic.close()

    def _write(self, block: AnnotatedBlock) -> WrittenBlock:
        if not block.citations and not block.dead_letters:
            return WrittenBlock(block.header)
        begin = time.monotonic()
        written = self.writer.write(block)
        observe("write_milliseconds", round(1000 * (time.monotonic() - begin)))
        count("blocks")
        if self.dead_letter_topic is not None and block.dead_letters:
            self.dead_letter_topic.send(block.dead_letters)
        self.channel.report(blocks=1)
        return written


def read_stream(pipeline: beam.Pipeline, splits: Sequence[KafkaSource]) -> PCollection[RawSlice]:
    """Read an unbounded source, each split with a reader of its own."""
    slices: PCollection[RawSlice] = pipeline | "Read" >> ReadSplits(splits)
    return slices


def read_ranges(
    pipeline: beam.Pipeline, ranges: Sequence[OffsetRange], reader: ReadRanges
) -> PCollection[RawSlice]:
    """Read offset ranges, distributed over the workers."""
    slices: PCollection[RawSlice] = (
        pipeline
        | "Ranges" >> beam.Create(list(ranges))
        | "Spread" >> beam.Reshuffle()
        | "Read" >> beam.ParDo(reader)
    )
    return slices


def annotate_slices(
    slices: PCollection[RawSlice],
    already_written: Sequence[WrittenBlock] = (),
    *,
    clock: Callable[[], datetime],
    handler: AnnotateHandler,
    writer: WriteSlice,
    committer: CommitOffsets,
) -> PCollection[tuple[str, int, int]]:
    """Build the graph from slices to committed offsets: topic, partition and offset.

    `already_written` are the blocks that an earlier run wrote without committing their offsets.
    """
    register_coders()
    written: PCollection[WrittenBlock] = (
        slices
        | "Decode" >> beam.ParDo(DecodeSlice(clock))
        | "Annotate" >> RunInference(handler).with_output_types(AnnotatedBlock)
        | "Refuse" >> beam.ParDo(RefuseUnstorable(store_text=writer.writer.store_text))
        | "Write" >> beam.ParDo(writer)
    )
    if already_written:
        known = slices.pipeline | "AlreadyWritten" >> beam.Create(list(already_written))
        written = (written, known) | "WithAlreadyWritten" >> beam.Flatten()
    committed: PCollection[tuple[str, int, int]] = (
        written | "ByPartition" >> beam.Map(_with_partition_key) | "Commit" >> beam.ParDo(committer)
    )
    return committed


@beam.typehints.with_output_types(tuple[tuple[str, int], WrittenBlock])
def _with_partition_key(written: WrittenBlock) -> tuple[tuple[str, int], WrittenBlock]:
    return (written.header.key.source, written.header.key.partition), written
