"""Runs of streams: up to the current end offsets, or until a stop request."""

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import apache_beam as beam
from apache_beam.pvalue import PCollection
from apache_beam.runners.runner import PipelineState
from kafka import TopicPartition

from pipelines.blocks.elements import WrittenBlock
from pipelines.graphs.stream import (
    ReadRanges,
    WriteSlice,
    annotate_slices,
    read_ranges,
    read_stream,
)
from pipelines.graphs.stream_plan import (
    Positions,
    Topics,
    find_positions,
    find_topics,
    find_written,
    plan_ranges,
    with_bases,
)
from pipelines.inference.checkpoints import Checkpoints
from pipelines.kafka.access import KafkaAccess, consumer
from pipelines.kafka.commits import CommitOffsets, commit_metadata
from pipelines.kafka.dead_letter_topic import DeadLetterTopic
from pipelines.kafka.drain import DrainSignal
from pipelines.kafka.errors import reporting
from pipelines.kafka.ranges import OffsetRange
from pipelines.kafka.slices import RawSlice
from pipelines.kafka.source import KafkaSource, Reading
from pipelines.kafka.topic_identity import check_same
from pipelines.kafka.topics import check_group_has_no_members, committed_metadata
from pipelines.output.store import Store
from pipelines.runners.cluster_check import check_cluster
from pipelines.runners.cluster_watch import watching_cluster
from pipelines.runners.flink import FlinkCluster
from pipelines.runners.options import RunnerChoice
from pipelines.runners.running_job import RunningJob, submit
from pipelines.runtime.batch import (
    ended,
    make_handler,
    make_pipeline,
    make_writer,
    reason_of,
    run_to_end,
)
from pipelines.runtime.left_behind import RemainingJob
from pipelines.runtime.restarts import Restarter
from pipelines.runtime.stall import StallWatch, default_patience
from pipelines.runtime.stalled_partitions import StalledPartitions
from pipelines.settings.stream import StreamSettings
from pipelines.telemetry.logs import log
from pipelines.telemetry.run_channel import WorkerChannel, open_run_channel
from schemas.errors import BrokerError, InputError, PubnerError, RunnerError
from worker.cli.signals import handling_stop_signals
from worker.registry.registry import open_registry
from worker.system.batching import in_groups
from worker.system.clock import utc_now

_POLL_SECONDS = 0.5
_REPORT_SECONDS = 10.0
_SAVEPOINT_SECONDS = 600.0
_STALLED_PARTITION_SECONDS = 300.0
"""Time without a commit, in addition to the flush time, after which a partition is stalled."""
_ROUND_BLOCKS = 100
"""Blocks in one round of the in-process runner, which commits at the end of a round."""


@dataclass(frozen=True, slots=True)
class StreamReport:
    """The result of a stream.

    `caught_up` means that all messages up to the end offsets at the start are written and their
    offsets committed; `savepoint` is the path of Flink's savepoint after a stop request; `counters`
    are Beam's, of the newest job; `restarts` counts the restarts of stalled jobs.
    """

    seconds: float
    caught_up: bool
    savepoint: str | None
    counters: Mapping[str, int]
    restarts: int = 0


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


def run_until_caught_up(jobs: StreamJobs) -> StreamReport:
    """Annotate all messages up to the current end offsets; return when all blocks are written.

    A stop request ends it at the next block.

    :raises PubnerError: if the broker, the output, a checkpoint or the runner fails.
    """
    begin = time.monotonic()
    settings = jobs.settings
    positions = find_positions(
        jobs.access,
        settings.group,
        jobs.topics,
        block_size=settings.block_size,
        read_committed=settings.read_committed,
    )
    ranges = plan_ranges(positions, jobs.topics, block_size=settings.block_size)
    log("reading", partitions=len(jobs.topics.partitions), lag=positions.lag, blocks=len(ranges))
    counters: dict[str, int] = {}
    size = _ROUND_BLOCKS if not jobs.choice.ends_unbounded else max(1, len(ranges))
    reached = 0
    remaining = RemainingJob(in_process=jobs.choice.in_process)
    with stopping(jobs.drain.request, remaining.log) as stop:
        for group in in_groups(ranges, size):
            if stop.is_set():
                break
            found = [(x, jobs.find_committed(x)) for x in with_bases(group)]
            missing = [wanted for wanted, note in found if note is None]
            written = [note for _, note in found if note is not None]
            with open_run_channel(time.monotonic) as run_channel:
                channel = run_channel.worker_side if jobs.choice.in_process else WorkerChannel()
                pipeline = jobs.bounded(missing, written, channel)
                done = run_to_end(pipeline, run_channel, jobs.choice)
            for name, count in done.items():
                counters[name] = counters.get(name, 0) + count
            reached += len(group)
            log("written", blocks=reached, of=len(ranges))
    return StreamReport(time.monotonic() - begin, not stop.is_set(), None, counters)


def run_unbounded(jobs: StreamJobs) -> StreamReport:
    """Annotate until a signal requests a stop; then finish what is in flight and return.

    :raises PubnerError: if the broker, the output, a checkpoint or the runner fails.
    """
    begin = time.monotonic()
    asked = threading.Event()
    remaining = RemainingJob(jobs.choice.flink_rest, in_process=jobs.choice.in_process)
    with open_run_channel(time.monotonic) as run_channel, stopping(asked.set, remaining.log):
        channel = run_channel.worker_side if jobs.choice.in_process else WorkerChannel()
        try:
            job = submit(jobs.unbounded(channel), jobs.choice, asked)
        except Exception as error:
            raise reason_of(run_channel, jobs.choice, error) from error
        if job is None:
            return StreamReport(time.monotonic() - begin, False, None, {})
        log("running", runner=jobs.choice.name, partitions=len(jobs.topics.partitions))
        watch = _Watch(jobs, job, asked, remaining)
        with watching_cluster(jobs.choice, time.monotonic) as cluster:
            try:
                savepoint = watch.until_ended()
                job = watch.job
                counters = job.counters() if watch.drained else {}
                if watch.drained:
                    job.result.cancel()
                    state = PipelineState.DONE
                else:
                    state = job.wait()
            except Exception as error:
                watch.job.cancel()  # a job left on the cluster would keep writing
                raise cluster.error or reason_of(run_channel, jobs.choice, error) from error
        if state != PipelineState.DONE and savepoint is None:
            raise cluster.error or run_channel.error() or ended(jobs.choice, state)
        return StreamReport(
            time.monotonic() - begin,
            False,
            savepoint,
            counters or job.counters(),
            watch.stall.restarts,
        )


@dataclass(slots=True)
class _Watch:
    """A supervisor of a stream: logs progress, restarts stalled jobs, forwards stop requests."""

    jobs: StreamJobs
    job: RunningJob
    asked: threading.Event
    remaining: RemainingJob = field(default_factory=RemainingJob)
    drained: bool = field(default=False, init=False)
    """Whether all offsets are committed and the drained job is only idling."""
    _ending: bool = field(default=False, init=False)
    stall: StallWatch = field(init=False)
    _stalled_partitions: StalledPartitions = field(init=False)
    _reported: float = field(default=0.0, init=False)
    _unknown_since: float = field(default_factory=time.monotonic, init=False)
    """When all topics were last found."""

    def __post_init__(self) -> None:
        patience = _STALLED_PARTITION_SECONDS + self.jobs.settings.flush_seconds
        self._stalled_partitions = StalledPartitions(patience)
        self.stall = StallWatch(self.jobs.stall_seconds)

    def until_ended(self) -> str | None:
        """Wait for the end of the job; return the path of its savepoint, if there is one."""
        savepoint = None
        while not self.drained and not self.job.has_ended:
            if self.asked.wait(_POLL_SECONDS) and not self._ending:
                self._ending = True
                savepoint = self._end()
            elif self._ending:
                time.sleep(_POLL_SECONDS)
            self._report()
        return savepoint

    def _end(self) -> str | None:
        address = self.jobs.choice.flink_rest
        if address is not None:
            cluster = FlinkCluster(address)
            job = self._find_job(cluster)
            if job is None:
                return None
            log("stopping with a savepoint", flink_job=job)
            self.remaining.flink_job = job
            return cluster.stop_with_savepoint(job, timeout_seconds=_SAVEPOINT_SECONDS)
        log("draining: messages already read are finished, no more are read")
        token = self.jobs.drain.request()
        if not self.jobs.choice.ends_drained:
            self._wait_until_drained(commit_metadata(self.jobs.output_id, token))
        return None

    def _find_job(self, cluster: FlinkCluster) -> str | None:
        """Return the id of this run's job, once the cluster lists it; None if it ended before."""
        while (job := cluster.find_job(self.jobs.choice.job_name)) is None:
            if self.job.has_ended:
                return None
            time.sleep(_POLL_SECONDS)
        return job

    def _wait_until_drained(self, note: str) -> None:
        """Wait until the last offsets of all partitions are committed, or the job has ended."""
        while not self.job.has_ended:
            try:
                if all(found == note for found in self._notes().values()):
                    self.drained = True
                    return
            except BrokerError as error:
                log("the broker does not answer, trying again", error=str(error))
            time.sleep(_POLL_SECONDS)

    def _notes(self) -> Mapping[TopicPartition, str]:
        access, group = self.jobs.access, self.jobs.settings.group
        partitions = find_topics(access, self.jobs.settings.topic).partitions
        client = consumer(access, group=group)
        try:
            with reporting(access, f"read the offsets of group {group!r}"):
                return committed_metadata(client, partitions)
        finally:
            client.close()

    def _report(self) -> None:
        now = time.monotonic()
        if now - self._reported < _REPORT_SECONDS or self._ending:
            return
        self._reported = now
        settings = self.jobs.settings
        try:
            topics = find_topics(self.jobs.access, settings.topic)
            check_group_has_no_members(self.jobs.access, settings.group)
            positions = find_positions(
                self.jobs.access,
                settings.group,
                topics,
                block_size=1,
                read_committed=settings.read_committed,
            )
        except PubnerError as error:
            self._raise_lasting(error, now)
            log("the broker does not answer", error=str(error))
            self.stall.reset(now)
            return
        self._unknown_since = now
        check_same(self.jobs.topics.digests, topics.digests)
        log("progress", lag=positions.lag, partitions=len(positions.begins))
        self._warn(positions, now)
        self._restart_if_stalled(positions, now)
        registered = self.jobs.checkpoints.registered
        if registered is not None:
            try:
                log("promoted checkpoint", id=open_registry(registered.registry).active().id)
            except PubnerError as error:
                log("the registry does not answer", error=str(error))

    def _raise_lasting(self, error: PubnerError, now: float) -> None:
        """Raise an error that retries cannot fix; a broker may briefly not know a topic."""
        unknown = isinstance(error, InputError)
        self._unknown_since = self._unknown_since if unknown else now
        lasts = now - self._unknown_since > self.jobs.access.timeout_seconds
        if (isinstance(error, BrokerError) and error.permanent) or lasts:
            raise error

    def _restart_if_stalled(self, positions: Positions, now: float) -> None:
        address = self.jobs.choice.flink_rest
        if address is None:
            return
        restarter = Restarter(
            FlinkCluster(address),
            self.jobs.choice.job_name,
            self.stall,
            check=lambda: check_cluster(self.jobs.choice),
            submit=self._submit_again,
        )
        result = restarter.restart_if_stalled(positions, now)
        if result is not None:
            self.job = result

    def _submit_again(self, savepoint: str | None) -> RunningJob:
        """Submit the job again, with the state at `savepoint` or without any."""
        jobs = replace(self.jobs, choice=self.jobs.choice.resumed_from(savepoint))
        job = submit(jobs.unbounded(WorkerChannel()), jobs.choice, self.asked)
        if job is None:
            raise RunnerError("the run was asked to stop meanwhile.")
        return job

    def _warn(self, positions: Positions, now: float) -> None:
        """Warn of the partitions that are stalled, and name the remedy."""
        for partition, seconds in self._stalled_partitions.observe(
            positions.begins, positions.ends, now
        ):
            offset = positions.begins[partition]
            log(
                "a partition is stalled; stop the run and start it without its savepoint: it "
                "continues from the group's offsets and loses nothing",
                level=logging.WARNING,
                topic=partition.topic,
                partition=partition.partition,
                offset=offset,
                lag=positions.ends[partition] - offset,
                seconds=round(seconds),
            )


@contextmanager
def stopping(
    request: Callable[[], object], remaining: Callable[[], None] = lambda: None
) -> Iterator[threading.Event]:
    """Turn SIGINT, SIGTERM and SIGHUP into `request`; a second one ends the process at once.

    The first signal sets the event that is yielded. `remaining` is called before the process ends.
    """
    asked = threading.Event()

    def on_signal(number: int) -> None:
        if asked.is_set():
            remaining()
            os._exit(128 + number)
        asked.set()
        # Not in the handler: a request may write a file, and the interrupted code may hold a lock.
        threading.Thread(target=ask, name="pubner-stop", daemon=True).start()

    def ask() -> None:
        try:
            request()
        except PubnerError as error:
            asked.clear()
            log("cannot request the stop of the run, send the signal again", error=str(error))

    with handling_stop_signals(on_signal, on_signal):
        yield asked
