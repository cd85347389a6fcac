"""The graph: files, blocks of records, annotated blocks, blocks in place.

Files are spread over the workers; from there on a block goes through in one go, so memory holds a
block or two of each worker, and a block is in place before the next one is read.
"""

from collections.abc import Iterator, Sequence

import apache_beam as beam
from apache_beam.ml.inference.base import RunInference
from apache_beam.pvalue import PCollection

from pipelines.handler import AnnotateHandler
from pipelines.metrics import count
from pipelines.monitor import Monitor
from pipelines.reading import BlockReader
from pipelines.records import AnnotatedBlock, InputFile, ReadBlock, WrittenBlock
from pipelines.store import Store
from pipelines.writer import BlockWriter
from schemas.records import Stage


@beam.typehints.with_input_types(InputFile)
@beam.typehints.with_output_types(ReadBlock)
class ReadBlocks(beam.DoFn):
    """Reads a file's blocks that are not in place yet."""

    def __init__(self, reader: BlockReader, store: Store) -> None:
        self.reader = reader
        self.store = store

    def process(self, element: InputFile) -> Iterator[ReadBlock]:
        """Yield the blocks of one file."""
        with self.reader.monitor.watching():
            yield from self.reader.read(element, self.store)


@beam.typehints.with_input_types(AnnotatedBlock)
@beam.typehints.with_output_types(WrittenBlock)
class WriteBlock(beam.DoFn):
    """Puts a block in place."""

    def __init__(self, writer: BlockWriter, monitor: Monitor) -> None:
        self.writer = writer
        self.monitor = monitor

    def process(self, element: AnnotatedBlock) -> Iterator[WrittenBlock]:
        """Write one block."""
        with self.monitor.watching():
            written = self.writer.write(element)
        count("blocks")
        if written.refused:
            count(f"dead_letters_{Stage.WRITE}", written.refused)
        self.monitor.report(blocks=1)
        yield written


def annotate_files(
    pipeline: beam.Pipeline,
    files: Sequence[InputFile],
    *,
    reader: BlockReader,
    handler: AnnotateHandler,
    writer: BlockWriter,
) -> PCollection[WrittenBlock]:
    """Build the graph that annotates `files` into the writer's store."""
    written: PCollection[WrittenBlock] = (
        pipeline
        | "Files" >> beam.Create(list(files))
        | "Spread" >> beam.Reshuffle()
        | "Read" >> beam.ParDo(ReadBlocks(reader, writer.store))
        | "Annotate" >> RunInference(handler)
        | "Write" >> beam.ParDo(WriteBlock(writer, reader.monitor))
    )
    return written
