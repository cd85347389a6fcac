"""The graph of a stream: parts of blocks, annotated parts, blocks in place, offsets committed.

From reading to writing a part goes through in one go, as a block does in batch. Only the short note
that it is in place travels between workers, to the step that commits offsets.
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
from pipelines.kafka.decode import decode_part
from pipelines.kafka.drain import DrainSignal
from pipelines.kafka.ranges import OffsetRange, RangeReader
from pipelines.kafka.slices import RawPart
from pipelines.kafka.source import KafkaSource
from pipelines.kafka.splits import ReadShares
from pipelines.output.writer import BlockWriter
from pipelines.telemetry.metrics import count, observe
from pipelines.telemetry.run_channel import WorkerChannel


@beam.typehints.with_input_types(OffsetRange)
@beam.typehints.with_output_types(RawPart)
class ReadRanges(beam.DoFn):
    """Reads ranges of offsets; once the run is asked to end, it reads no more."""

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
        """Make the reader, which connects when it is first used."""
        self._reader = RangeReader(
            self.access,
            block_size=self.block_size,
            read_committed=self.read_committed,
            timeout_seconds=self.timeout_seconds,
            clock=time.monotonic,
        )

    def process(self, element: OffsetRange) -> Iterator[RawPart]:
        """Yield the parts of one range."""
        if self.drain.requested(time.monotonic()):
            return
        with self.channel.watching():
            yield from self._reader.read(element)

    def teardown(self) -> None:
        """Close the consumer."""
        self._reader.close()


@beam.typehints.with_input_types(RawPart)
@beam.typehints.with_output_types(ReadBlock)
class DecodePart(beam.DoFn):
    """Makes citations and tombstones of messages, and dead letters of what is none."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self.clock = clock

    def process(self, element: RawPart) -> Iterator[ReadBlock]:
        """Decode one part."""
        yield decode_part(element, self.clock)


@beam.typehints.with_input_types(AnnotatedBlock)
@beam.typehints.with_output_types(WrittenBlock)
class WritePart(beam.DoFn):
    """Merges a part into its block; a gap needs no file."""

    def __init__(
        self, writer: BlockWriter, letters: DeadLetterTopic | None, channel: WorkerChannel
    ) -> None:
        self.writer = writer
        self.letters = letters
        self.channel = channel

    def process(self, element: AnnotatedBlock) -> Iterator[WrittenBlock]:
        """Write one part."""
        with self.channel.watching():
            yield self._write(element)

    def teardown(self) -> None:
        """Close the producer of dead letters."""
        if self.letters is not None:
            self.letters.close()

    def _write(self, part: AnnotatedBlock) -> WrittenBlock:
        if not part.citations and not part.dead_letters:
            return WrittenBlock(part.header)
        begin = time.monotonic()
        written = self.writer.write(part)
        observe("write_milliseconds", round(1000 * (time.monotonic() - begin)))
        count("blocks")
        if self.letters is not None and part.dead_letters:
            self.letters.send(part.dead_letters)
        self.channel.report(blocks=1)
        return written


def read_stream(pipeline: beam.Pipeline, shares: Sequence[KafkaSource]) -> PCollection[RawPart]:
    """Read without end, each share by a reader of its own."""
    parts: PCollection[RawPart] = pipeline | "Read" >> ReadShares(shares)
    return parts


def read_ranges(
    pipeline: beam.Pipeline, ranges: Sequence[OffsetRange], reader: ReadRanges
) -> PCollection[RawPart]:
    """Read some ranges, spread over the workers."""
    parts: PCollection[RawPart] = (
        pipeline
        | "Ranges" >> beam.Create(list(ranges))
        | "Spread" >> beam.Reshuffle()
        | "Read" >> beam.ParDo(reader)
    )
    return parts


def annotate_parts(
    parts: PCollection[RawPart],
    in_place: Sequence[WrittenBlock] = (),
    *,
    clock: Callable[[], datetime],
    handler: AnnotateHandler,
    writer: WritePart,
    committer: CommitOffsets,
) -> PCollection[tuple[str, int, int]]:
    """Build the graph from parts to committed offsets: topic, partition and offset.

    `in_place` is what an earlier run put in place and did not commit.
    """
    register_coders()
    written: PCollection[WrittenBlock] = (
        parts
        | "Decode" >> beam.ParDo(DecodePart(clock))
        | "Annotate" >> RunInference(handler).with_output_types(AnnotatedBlock)
        | "Refuse" >> beam.ParDo(RefuseUnstorable(store_text=writer.writer.store_text))
        | "Write" >> beam.ParDo(writer)
    )
    if in_place:
        known = parts.pipeline | "InPlace" >> beam.Create(list(in_place))
        written = (written, known) | "WithInPlace" >> beam.Flatten()
    committed: PCollection[tuple[str, int, int]] = (
        written | "ByPartition" >> beam.Map(_with_place) | "Commit" >> beam.ParDo(committer)
    )
    return committed


@beam.typehints.with_output_types(tuple[tuple[str, int], WrittenBlock])
def _with_place(written: WrittenBlock) -> tuple[tuple[str, int], WrittenBlock]:
    return (written.header.key.source, written.header.key.partition), written
