"""Beam graph of a batch run: files to blocks of records to annotated blocks to written blocks.

Files are distributed over the workers; the later steps are fused, so memory holds a few blocks a
worker: one is annotated while the next is read and the previous one is written.
"""

import contextlib
from collections.abc import Iterator, Sequence

import apache_beam as beam
from apache_beam.ml.inference.base import RunInference
from apache_beam.pvalue import PCollection
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.windowed_value import WindowedValue

from pipelines.blocks.elements import AnnotatedBlock, InputFile, ReadBlock, WrittenBlock
from pipelines.blocks.refusals import refuse_unstorable
from pipelines.graphs.coders import register_coders
from pipelines.inference.handler import AnnotateHandler
from pipelines.output.pieces import PieceWriter
from pipelines.output.sink import Sink
from pipelines.output.store import Store
from pipelines.output.writer import BlockWriter
from pipelines.sources.files import BlockReader
from pipelines.telemetry.metrics import count
from pipelines.telemetry.run_channel import WorkerChannel
from schemas.records import Stage
from worker.system.pipelining import WriteBehind, make_helper, read_ahead


@beam.typehints.with_input_types(InputFile)
@beam.typehints.with_output_types(ReadBlock)
class ReadBlocks(beam.DoFn):
    """Reads the blocks of a file that are not written yet, one ahead of the model."""

    def __init__(self, reader: BlockReader, store: Store) -> None:
        self.reader = reader
        self.store = store

    def setup(self) -> None:
        """Create the thread that reads ahead."""
        self._helper = make_helper("pubner-read")

    def process(self, element: InputFile) -> Iterator[ReadBlock]:
        """Yield the blocks of one file."""
        with self.reader.channel.watching():
            yield from read_ahead(self.reader.read(element, self.store), self._helper)

    def teardown(self) -> None:
        """Wait for the thread."""
        self._helper.shutdown()


@beam.typehints.with_input_types(AnnotatedBlock)
@beam.typehints.with_output_types(AnnotatedBlock)
class RefuseUnstorable(beam.DoFn):
    """Converts citations that the output cannot store into dead letters."""

    def __init__(self, *, store_text: bool) -> None:
        self.store_text = store_text

    def process(self, element: AnnotatedBlock) -> Iterator[AnnotatedBlock]:
        """Check one block."""
        checked = refuse_unstorable(element, store_text=self.store_text)
        refused = len(element.citations) - len(checked.citations)
        if refused:
            count(f"dead_letters_{Stage.WRITE}", refused)
        yield checked


@beam.typehints.with_input_types(AnnotatedBlock)
@beam.typehints.with_output_types(WrittenBlock)
class WriteBlock(beam.DoFn):
    """Writes a block in a thread while the model annotates the next one."""

    def __init__(self, sink: Sink, channel: WorkerChannel) -> None:
        self.sink = sink
        self.channel = channel

    def setup(self) -> None:
        """Create the thread that writes."""
        self._helper = make_helper("pubner-write")
        self._writing = WriteBehind(self.sink.write, self._helper)

    def start_bundle(self) -> None:
        """Begin without a pending write."""
        self._writing = WriteBehind(self.sink.write, self._helper)

    def process(self, element: AnnotatedBlock) -> Iterator[WrittenBlock]:
        """Begin to write one block; yield the previous one."""
        with self.channel.watching():
            written = self._writing.put(element)
        if written is not None:
            yield self._counted(written)

    def finish_bundle(self) -> Iterator[WindowedValue]:
        """Yield the last block after it is written."""
        with self.channel.watching():
            written = self._writing.wait()
        if written is not None:
            window = GlobalWindow()
            yield WindowedValue(self._counted(written), window.max_timestamp(), (window,))

    def teardown(self) -> None:
        """Wait for the thread, and for a write that an interrupted bundle left pending."""
        self._helper.shutdown()
        with contextlib.suppress(Exception), self.channel.watching():
            self._writing.wait()

    def _counted(self, written: WrittenBlock) -> WrittenBlock:
        count("blocks")
        self.channel.report(blocks=1)
        return written


def annotate_files(
    pipeline: beam.Pipeline,
    files: Sequence[InputFile],
    *,
    reader: BlockReader,
    handler: AnnotateHandler,
    writer: BlockWriter,
    sink: Sink | None = None,
) -> PCollection[WrittenBlock]:
    """Build the graph that annotates `files` into the writer's store, or into another `sink`."""
    register_coders()
    written: PCollection[WrittenBlock] = (
        pipeline
        | "Files" >> beam.Create(list(files))
        | "Spread" >> beam.Reshuffle()
        | "Read" >> beam.ParDo(ReadBlocks(reader, writer.store))
        | "Annotate" >> RunInference(handler).with_output_types(AnnotatedBlock)
        | "Refuse" >> beam.ParDo(RefuseUnstorable(store_text=writer.store_text))
        | "Write" >> beam.ParDo(WriteBlock(sink or PieceWriter(writer), reader.channel))
    )
    return written
