"""Beam graph of a batch run: files to blocks of records to annotated blocks to written blocks.

Files are distributed over the workers; the later steps are fused, so memory holds a few blocks a
worker: one is annotated while the next is read and the previous one is written.
"""

import contextlib
import time
from collections.abc import Iterator, Sequence
from typing import Any

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
from pipelines.output.writer import BlockWriter
from pipelines.sources.base import Source
from pipelines.sources.files import BlockReader, FileSource
from pipelines.telemetry.metrics import count, observe
from pipelines.telemetry.run_channel import WorkerChannel
from schemas.records import Stage
from worker.system.pipelining import WriteBehind, make_helper, read_ahead


@beam.typehints.with_output_types(ReadBlock)
class Read(beam.DoFn):
    """Reads the elements of a source as blocks, one ahead of the model."""

    def __init__(self, source: Source[Any], channel: WorkerChannel) -> None:
        self.source = source
        self.channel = channel

    def setup(self) -> None:
        """Create the thread that reads ahead."""
        self._helper = make_helper("pubner-read")

    def process(self, element: Any) -> Iterator[ReadBlock]:  # noqa: ANN401 - the source's own
        """Yield the blocks of one element."""
        with self.channel.watching():
            yield from read_ahead(self.source.read(element), self._helper)

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
        self._writing = WriteBehind(self._write, self._helper)

    def start_bundle(self) -> None:
        """Begin without a pending write."""
        self._writing = WriteBehind(self._write, self._helper)

    def process(self, element: AnnotatedBlock) -> Iterator[WrittenBlock]:
        """Begin to write one block; yield the previous one."""
        with self.channel.watching():
            written = self._writing.put(element)
        yield from self._counted(written)

    def finish_bundle(self) -> Iterator[WindowedValue]:
        """Yield the last block after it is written."""
        with self.channel.watching():
            written = self._writing.wait()
        window = GlobalWindow()
        for block in self._counted(written):
            yield WindowedValue(block, window.max_timestamp(), (window,))

    def teardown(self) -> None:
        """Wait for the thread, and for a write that an interrupted bundle left pending."""
        self._helper.shutdown()
        with contextlib.suppress(Exception), self.channel.watching():
            self._writing.wait()

    def _write(self, block: AnnotatedBlock) -> tuple[WrittenBlock | None, float]:
        begin = time.monotonic()
        written = self.sink.write(block)
        return written, time.monotonic() - begin

    def _counted(self, done: tuple[WrittenBlock | None, float] | None) -> Iterator[WrittenBlock]:
        """Yield the block of a finished write, if all its pieces are written.

        Beam has no metrics in the thread that writes, so they are recorded here.
        """
        if done is None:
            return
        written, seconds = done
        observe("write_milliseconds", round(1000 * seconds))
        if written is not None:
            count("blocks")
            self.channel.report(blocks=1)
            yield written


def annotate_source(
    pipeline: beam.Pipeline,
    source: Source[Any],
    *,
    handler: AnnotateHandler,
    sink: Sink,
    channel: WorkerChannel,
    store_text: bool | None,
    label: str = "",
) -> PCollection[WrittenBlock]:
    """Build the graph that annotates the blocks of `source` and gives them to `sink`.

    Citations that the output cannot store, with or without their text as `store_text` says, become
    dead letters; with None, the sink itself decides. Several sources of one pipeline need
    different labels.
    """
    register_coders()
    written: PCollection[WrittenBlock]
    annotated = (
        pipeline
        | f"Elements{label}" >> beam.Create(list(source.elements()))
        | f"Spread{label}" >> beam.Reshuffle()
        | f"Read{label}" >> beam.ParDo(Read(source, channel))
        | f"Annotate{label}" >> RunInference(handler).with_output_types(AnnotatedBlock)
    )
    if store_text is not None:
        refuse = RefuseUnstorable(store_text=store_text)
        annotated = annotated | f"Refuse{label}" >> beam.ParDo(refuse)
    written = annotated | f"Write{label}" >> beam.ParDo(WriteBlock(sink, channel))
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
    return annotate_source(
        pipeline,
        FileSource(files, reader, writer.store),
        handler=handler,
        sink=sink or PieceWriter(writer),
        channel=reader.channel,
        store_text=writer.store_text,
    )
