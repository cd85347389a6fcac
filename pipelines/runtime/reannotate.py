"""Reannotation of an output from its stored text: the pipeline, and a run of it.

Blocks are distributed over the workers. A worker reads a block from the output, annotates it and
writes it back, with the same handler as `pubner annotate`, so the results are equal. If blocks were
made with different `--max-text-chars`, the pipeline has one branch for each limit.
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
from pipelines.output.writer import CommittedBlock, read_block
from pipelines.runners.options import RunnerChoice
from pipelines.runtime.batch import RunReport, make_handler, make_pipeline, run_to_end, stopping
from pipelines.settings.reannotate import ReannotateSettings
from pipelines.sources.stored import stored_citations
from pipelines.telemetry.progress import annotating_again
from pipelines.telemetry.run_channel import WorkerChannel, open_run_channel
from worker.cli.progress import Meter
from worker.system.batching import in_groups
from worker.system.pipelining import make_helper, read_ahead

_GROUP = 16
"""Blocks in one element: a block is read while the model annotates the previous one."""


@dataclass(frozen=True, slots=True)
class StoredReader:
    """Reads, from blocks of an output, the matching citations that another checkpoint annotated.

    A block that was made with another limit than `max_text_chars` is skipped.
    """

    store: Store
    condition: Condition
    checkpoint_id: str
    max_text_chars: int | None
    channel: WorkerChannel

    def read(self, keys: Sequence[BlockKey]) -> Iterator[ReadBlock]:
        """Yield the blocks that have citations to annotate, in order."""
        with self.condition.evaluating(check=self.channel.check) as evaluate:
            for key in keys:
                self.channel.check()
                found = read_block(self.store, key)
                if found is None or limit_of(found.footer) != self.max_text_chars:
                    continue
                block = self._matching(found, evaluate)
                if block.citations:
                    yield block

    def _matching(self, block: CommittedBlock, evaluate: Evaluate) -> ReadBlock:
        rows = block.tables["citations"]
        wanted = wanted_rows(rows, evaluate, self.checkpoint_id)
        header = BlockHeader(block.footer.key, block.footer.input_digest)
        return ReadBlock(header, stored_citations(block.tables, wanted), ())


@beam.typehints.with_input_types(tuple[BlockKey, ...])
@beam.typehints.with_output_types(ReadBlock)
class ReadStored(beam.DoFn):
    """DoFn that reads blocks from the output, one ahead of the model."""

    def __init__(self, reader: StoredReader) -> None:
        self.reader = reader

    def setup(self) -> None:
        """Start the thread that reads ahead."""
        self._helper = make_helper("pubner-read")

    def process(self, element: tuple[BlockKey, ...]) -> Iterator[ReadBlock]:
        """Yield the citations to annotate again, one block at a time."""
        with self.reader.channel.watching():
            yield from read_ahead(self.reader.read(element), self._helper)

    def teardown(self) -> None:
        """Wait for the thread that reads ahead."""
        self._helper.shutdown()


def reannotate_blocks(
    pipeline: beam.Pipeline,
    keys: Sequence[BlockKey],
    *,
    reader: StoredReader,
    handler: AnnotateHandler,
    reviser: BlockReviser,
) -> None:
    """Build the branch that annotates blocks of one text limit again."""
    register_coders()
    groups = [tuple(group) for group in in_groups(keys, _GROUP)]
    branch = f"(text limit {reader.max_text_chars or 'none'})"
    (
        pipeline
        | f"Blocks {branch}" >> beam.Create(groups)
        | f"Spread {branch}" >> beam.Reshuffle()
        | f"Read {branch}" >> beam.ParDo(ReadStored(reader))
        | f"Annotate {branch}" >> RunInference(handler).with_output_types(AnnotatedBlock)
        | f"Write {branch}" >> beam.ParDo(WriteBlock(reviser, reader.channel))
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
    """Annotate the matching `citations` in `blocks` again; return when all blocks are written.

    `meter` shows the progress.

    :raises InterruptedRunError: if a signal stopped it; what is written stays.
    :raises PubnerError: if the output, a checkpoint or the runner fails.
    """
    begin = time.monotonic()
    branches: dict[int | None, list[BlockKey]] = defaultdict(list)
    for block in blocks:
        branches[block.max_text_chars].append(block.key)
    with open_run_channel(time.monotonic) as run_channel:
        channel = run_channel.worker_side if choice.in_process else WorkerChannel()
        pipeline = make_pipeline(choice)
        for limit, keys in branches.items():
            reannotate_blocks(
                pipeline,
                keys,
                reader=StoredReader(store, condition, checkpoints.id, limit, channel),
                handler=make_handler(settings, checkpoints, channel, max_text_chars=limit),
                reviser=BlockReviser(store, condition),
            )
        meter.follow(partial(annotating_again, run_channel, citations=citations))
        with stopping(run_channel, settings.output, in_process=choice.in_process, show=meter.show):
            counters = run_to_end(pipeline, run_channel, choice)
        return RunReport(
            seconds=time.monotonic() - begin,
            annotating_seconds=run_channel.annotating_seconds(),
            unreadable_inputs=0,
            counters=counters if choice.counts_all else {},
        )
