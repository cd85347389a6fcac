"""Builds the pipelines of a stream from its settings."""

from collections.abc import Sequence
from dataclasses import dataclass

import apache_beam as beam
from apache_beam.pvalue import PCollection

from pipelines.blocks.elements import WrittenBlock
from pipelines.graphs.stream import (
    ReadRanges,
    WriteSlice,
    annotate_slices,
    read_ranges,
    read_stream,
)
from pipelines.graphs.stream_plan import (
    Topics,
    find_written,
)
from pipelines.inference.checkpoints import Checkpoints
from pipelines.kafka.access import KafkaAccess
from pipelines.kafka.commits import CommitOffsets
from pipelines.kafka.dead_letter_topic import DeadLetterTopic
from pipelines.kafka.drain import DrainSignal
from pipelines.kafka.ranges import OffsetRange
from pipelines.kafka.slices import RawSlice
from pipelines.kafka.source import KafkaSource, Reading
from pipelines.output.store import Store
from pipelines.runners.options import RunnerChoice
from pipelines.runtime.batch import (
    make_handler,
    make_pipeline,
    make_writer,
)
from pipelines.runtime.stall import default_patience
from pipelines.settings.stream import StreamSettings
from pipelines.telemetry.run_channel import WorkerChannel
from worker.system.clock import utc_now


@dataclass(frozen=True, slots=True)
class StreamJobs:
    """Builds the pipelines of one run from its settings."""

    settings: StreamSettings
    access: KafkaAccess
    topics: Topics
    checkpoints: Checkpoints
    store: Store
    choice: RunnerChoice
    drain: DrainSignal
    output_id: str = ""

    @property
    def stall_seconds(self) -> float:
        """How long a job may make no progress before it counts as stalled."""
        settings = self.settings
        return settings.stall_seconds or default_patience(
            flush_seconds=settings.flush_seconds,
            checkpoint_seconds=self.choice.checkpoint_seconds,
            block_size=settings.block_size,
        )

    def unbounded(self, channel: WorkerChannel) -> beam.Pipeline:
        """Return the unbounded pipeline."""
        pipeline = make_pipeline(self.choice)
        source = KafkaSource(self._reading(), self.drain, channel)
        splits = source.splits_for(len(self.topics.partitions))
        self._annotate(read_stream(pipeline, splits), (), channel)
        return pipeline

    def bounded(
        self,
        ranges: Sequence[OffsetRange],
        written: Sequence[WrittenBlock],
        channel: WorkerChannel,
    ) -> beam.Pipeline:
        """Return the pipeline that reads `ranges` and also commits the `written` blocks."""
        pipeline = make_pipeline(self.choice)
        reader = ReadRanges(
            self.access,
            self.drain,
            channel,
            block_size=self.settings.block_size,
            read_committed=self.settings.read_committed,
            timeout_seconds=self.settings.kafka_timeout_seconds,
        )
        self._annotate(read_ranges(pipeline, ranges, reader), written, channel)
        return pipeline

    def find_committed(self, wanted: OffsetRange) -> WrittenBlock | None:
        """Return the commit metadata of a range that is already written; None if it is not.

        Also None with a dead-letter topic, so that the range is read again: whether its dead
        letters were sent is not known.
        """
        if self.settings.dead_letter_topic is not None:
            return None
        return find_written(
            self.store,
            wanted,
            block_size=self.settings.block_size,
            checkpoint_id=self.checkpoints.id,
            settings=self.settings.row_settings,
        )

    def _reading(self) -> Reading:
        return Reading(
            access=self.access,
            topics=self.topics.digests,
            group=self.settings.group,
            block_size=self.settings.block_size,
            flush_seconds=self.settings.flush_seconds,
            read_committed=self.settings.read_committed,
        )

    def _annotate(
        self, parts: PCollection[RawSlice], written: Sequence[WrittenBlock], channel: WorkerChannel
    ) -> None:
        settings = self.settings
        dead_letters: DeadLetterTopic | None = None
        if settings.dead_letter_topic is not None:
            dead_letters = DeadLetterTopic(self.access, settings.dead_letter_topic)
        annotate_slices(
            parts,
            written,
            clock=utc_now,
            handler=make_handler(
                settings,
                self.checkpoints,
                channel,
                max_text_chars=settings.max_text_chars,
            ),
            writer=WriteSlice(
                make_writer(settings, self.store, merges=True),
                dead_letters,
                channel,
            ),
            committer=CommitOffsets(
                self.access,
                settings.group,
                self.topics.digests,
                output=self.output_id,
                channel=channel,
            ),
        )
