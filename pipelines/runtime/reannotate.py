"""What an output holds annotated again from the stored text: the graph, and a run of it.

Blocks are spread over the workers; from there on a block is read from the output, annotated and put
back in one go, by the same handler as ever, so it gives what `pubner annotate` makes of the source.
Where blocks were made with different limits of the text that is read, the graph has a branch each.
"""

import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import apache_beam as beam
from apache_beam.ml.inference.base import RunInference

from pipelines.blocks.elements import AnnotatedBlock, BlockHeader, ReadBlock
from pipelines.blocks.keys import BlockKey
from pipelines.graphs.annotate import WriteBlock
from pipelines.graphs.coders import register_coders
from pipelines.graphs.reannotate_plan import BlockWork, limit_of
from pipelines.inference.checkpoints import Checkpoints
from pipelines.inference.handler import AnnotateHandler
from pipelines.output.revising import BlockReviser, wanted_rows
from pipelines.output.sql_filter import Condition, Evaluate
from pipelines.output.store import Store
from pipelines.output.writer import InPlace, read_block
from pipelines.runners.options import RunnerChoice
from pipelines.runtime.batch import RunReport, make_handler, make_pipeline, run_to_end, stopping
from pipelines.settings.reannotate import ReannotateSettings
from pipelines.sources.stored import stored_citations
from pipelines.telemetry.progress import annotating_again
from pipelines.telemetry.run_channel import Monitor, open_desk
from worker.cli.progress import Meter
from worker.system.batching import in_groups
from worker.system.pipelining import make_helper, read_ahead

_GROUP = 16
"""Blocks that one worker takes at once: each is read while the model works on the one before."""


@dataclass(frozen=True, slots=True)
class StoredReader:
    """Reads blocks of an output: the citations that match and another checkpoint made.

    A block that was made with another limit than `max_text_chars` is passed over.
    """

    store: Store
    condition: Condition
    checkpoint_id: str
    max_text_chars: int | None
    monitor: Monitor

    def read(self, keys: Sequence[BlockKey]) -> Iterator[ReadBlock]:
        """Yield those of the blocks that hold something to do, in order."""
        with self.condition.evaluating(check=self.monitor.check) as evaluate:
            for key in keys:
                self.monitor.check()
                found = read_block(self.store, key)
                if found is None or limit_of(found.footer) != self.max_text_chars:
                    continue
                block = self._matching(found, evaluate)
                if block.citations:
                    yield block

    def _matching(self, block: InPlace, evaluate: Evaluate) -> ReadBlock:
        rows = block.tables["citations"]
        wanted = wanted_rows(rows, evaluate, self.checkpoint_id)
        header = BlockHeader(block.footer.key, block.footer.input_digest)
        return ReadBlock(header, stored_citations(block.tables, wanted), ())


@beam.typehints.with_input_types(tuple[BlockKey, ...])
@beam.typehints.with_output_types(ReadBlock)
class ReadStored(beam.DoFn):
    """Reads blocks from the output, one ahead of the model."""

    def __init__(self, reader: StoredReader) -> None:
        self.reader = reader

    def setup(self) -> None:
        """Make the helper that reads ahead."""
        self._helper = make_helper("pubner-read")

    def process(self, element: tuple[BlockKey, ...]) -> Iterator[ReadBlock]:
        """Yield the citations to annotate again, a block at a time."""
        with self.reader.monitor.watching():
            yield from read_ahead(self.reader.read(element), self._helper)

    def teardown(self) -> None:
        """Wait for the helper."""
        self._helper.shutdown()


def reannotate_blocks(
    pipeline: beam.Pipeline,
    keys: Sequence[BlockKey],
    *,
    reader: StoredReader,
    handler: AnnotateHandler,
    reviser: BlockReviser,
) -> None:
    """Build the graph that annotates blocks of one limit again."""
    register_coders()
    groups = [tuple(group) for group in in_groups(keys, _GROUP)]
    branch = f"(text limit {reader.max_text_chars or 'none'})"
    (
        pipeline
        | f"Blocks {branch}" >> beam.Create(groups)
        | f"Spread {branch}" >> beam.Reshuffle()
        | f"Read {branch}" >> beam.ParDo(ReadStored(reader))
        | f"Annotate {branch}" >> RunInference(handler).with_output_types(AnnotatedBlock)
        | f"Write {branch}" >> beam.ParDo(WriteBlock(reviser, reader.monitor))
    )


def run_reannotation(
    settings: ReannotateSettings,
    blocks: Sequence[BlockWork],
    *,
    condition: Condition,
    checkpoints: Checkpoints,
    store: Store,
    choice: RunnerChoice,
    citations: int,
    meter: Meter,
) -> RunReport:
    """Annotate what matches in `blocks` again, `citations` in all; return when all is in place.

    `meter` tells how far it is.

    :raises InterruptedRunError: if a signal stopped it; what is in place stays.
    :raises PubnerError: if the output, a checkpoint or the runner fails.
    """
    begin = time.monotonic()
    branches: dict[int | None, list[BlockKey]] = defaultdict(list)
    for block in blocks:
        branches[block.max_text_chars].append(block.key)
    with open_desk(time.monotonic) as desk:
        monitor = desk.monitor if choice.in_process else Monitor()
        pipeline = make_pipeline(choice)
        for limit, keys in branches.items():
            reannotate_blocks(
                pipeline,
                keys,
                reader=StoredReader(store, condition, checkpoints.id, limit, monitor),
                handler=make_handler(settings, checkpoints, monitor, max_text_chars=limit),
                reviser=BlockReviser(store, condition),
            )
        meter.follow(partial(annotating_again, desk, citations=citations))
        with stopping(desk, settings.output, in_process=choice.in_process, say=meter.show):
            counters = run_to_end(pipeline, desk, choice)
        return RunReport(
            seconds=time.monotonic() - begin,
            annotating_seconds=desk.annotating_seconds(),
            unreadable_inputs=0,
            counters=counters if choice.counts_all else {},
        )
