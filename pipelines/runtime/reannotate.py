"""Reannotation of an output from its stored text: the pipeline, and a run of it.

Blocks are distributed over the workers. A worker reads a block from the output, annotates it and
writes it back, with the same handler as `pubner annotate`, so the results are equal. If blocks were
made with different `--max-text-chars`, the pipeline has one branch for each limit.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import apache_beam as beam

from pipelines.blocks.elements import BlockHeader, ReadBlock
from pipelines.blocks.keys import BlockKey
from pipelines.graphs.annotate import annotate_source
from pipelines.graphs.reannotate_plan import BlockWork, limit_of
from pipelines.inference.checkpoints import Checkpoints
from pipelines.output.revising import BlockReviser, wanted_rows
from pipelines.output.sql_filter import Condition, Evaluate
from pipelines.output.store import Store
from pipelines.output.writer import CommittedBlock, read_block
from pipelines.runners.options import RunnerChoice
from pipelines.runtime.batch import RunReport, make_handler, run_bounded
from pipelines.settings.reannotate import ReannotateSettings
from pipelines.sources.stored import stored_citations
from pipelines.telemetry.progress import annotating_again
from pipelines.telemetry.run_channel import WorkerChannel
from worker.cli.progress import Meter
from worker.system.batching import in_groups

_GROUP = 16
"""Blocks in one element: a block is read while the model annotates the previous one."""


@dataclass(frozen=True, slots=True)
class StoredSource:
    """The matching citations in blocks of an output that another checkpoint annotated.

    A block that was made with another limit than `max_text_chars` is skipped.
    """

    keys: Sequence[BlockKey]
    store: Store
    condition: Condition
    checkpoint_id: str
    max_text_chars: int | None
    channel: WorkerChannel

    def elements(self) -> Sequence[tuple[BlockKey, ...]]:
        """Return the blocks in groups."""
        return [tuple(group) for group in in_groups(self.keys, _GROUP)]

    def read(self, element: tuple[BlockKey, ...]) -> Iterator[ReadBlock]:
        """Yield the blocks that have citations to annotate, in order."""
        with self.condition.evaluating(check=self.channel.check) as evaluate:
            for key in element:
                self.channel.check()
                found = read_block(self.store, key)
                if found is None or limit_of(found.footer) != self.max_text_chars:
                    continue
                block = self._matching(found, evaluate)
                if block.citations:
                    yield block

    def __reduce__(self) -> tuple[Any, ...]:
        """Leave the blocks out: a worker is given those that it reads."""
        fields = (self.store, self.condition, self.checkpoint_id, self.max_text_chars, self.channel)
        return StoredSource, ((), *fields)

    def _matching(self, block: CommittedBlock, evaluate: Evaluate) -> ReadBlock:
        rows = block.tables["citations"]
        wanted = wanted_rows(rows, evaluate, self.checkpoint_id)
        header = BlockHeader(block.footer.key, block.footer.input_digest)
        return ReadBlock(header, stored_citations(block.tables, wanted), ())


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
    branches: dict[int | None, list[BlockKey]] = defaultdict(list)
    for block in blocks:
        branches[block.max_text_chars].append(block.key)

    def build(pipeline: beam.Pipeline, channel: WorkerChannel) -> None:
        for limit, keys in branches.items():
            annotate_source(
                pipeline,
                StoredSource(keys, store, condition, checkpoints.id, limit, channel),
                handler=make_handler(settings, checkpoints, channel, max_text_chars=limit),
                sink=BlockReviser(store, condition),
                channel=channel,
                store_text=None,
                label=f" (text limit {limit or 'none'})",
            )

    return run_bounded(
        build,
        choice,
        output=settings.output,
        meter=meter,
        progress=partial(annotating_again, citations=citations),
    )
