"""Runs a stream: to the end that the topics have now, or until it is asked to end."""

import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from types import FrameType

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
    utc_now,
)
from pipelines.runtime.left_behind import GoesOn
from pipelines.runtime.restarts import Restarter
from pipelines.runtime.stall import StallWatch, default_patience
from pipelines.runtime.stalled_partitions import Standstill
from pipelines.settings.stream import StreamSettings
from pipelines.telemetry.logs import log
from pipelines.telemetry.run_channel import Monitor, open_desk
from schemas.errors import BrokerError, InputError, PubnerError, RunnerError
from worker.cli.signals import stop_requests
from worker.registry.registry import open_registry
from worker.system.batching import in_groups

_LOOK_SECONDS = 0.5
_REPORT_SECONDS = 10.0
_SAVEPOINT_SECONDS = 600.0
_STANDSTILL_SECONDS = 300.0
"""So much longer than a part stays open nothing may be committed where there is something to read.
"""
_ROUND_BLOCKS = 100
"""Blocks that the in-process runner is given at a time: it commits when it has done them all."""


@dataclass(frozen=True, slots=True)
class StreamReport:
    """What became of a stream.

    `caught_up` says that all up to the ends at start is in place and committed; `savepoint` is
    where Flink kept the state of a stream that was asked to end; `counters` are Beam's, of the
    newest job; `restarts` counts how often a job was stalled and restarted.
    """

    seconds: float
    caught_up: bool
    savepoint: str | None
    counters: Mapping[str, int]
    restarts: int = 0


@dataclass(frozen=True, slots=True)
class StreamJobs:
    """Makes the pipelines of one run from what the user gave."""

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
        """How long a job without progress is waited for before it counts as stalled."""
        settings = self.settings
        return settings.stall_seconds or default_patience(
            flush_seconds=settings.flush_seconds,
            checkpoint_seconds=self.choice.checkpoint_seconds,
            block_size=settings.block_size,
        )

    def unbounded(self, monitor: Monitor) -> beam.Pipeline:
        """Return the pipeline that reads without end."""
        pipeline = make_pipeline(self.choice)
        source = KafkaSource(self._reading(), self.drain, monitor)
        splits = source.splits_for(len(self.topics.partitions))
        self._annotate(read_stream(pipeline, splits), (), monitor)
        return pipeline

    def bounded(
        self, ranges: Sequence[OffsetRange], in_place: Sequence[WrittenBlock], monitor: Monitor
    ) -> beam.Pipeline:
        """Return the pipeline that reads `ranges`; `in_place` needs only to be committed."""
        pipeline = make_pipeline(self.choice)
        reader = ReadRanges(
            self.access,
            self.drain,
            monitor,
            block_size=self.settings.block_size,
            read_committed=self.settings.read_committed,
            timeout_seconds=self.settings.kafka_timeout_seconds,
        )
        self._annotate(read_ranges(pipeline, ranges, reader), in_place, monitor)
        return pipeline

    def in_place(self, wanted: OffsetRange) -> WrittenBlock | None:
        """Return the note of a range that is in place already.

        None, so that it is done again, where dead letters also go to a topic: whether they did is
        not known.
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
        self, parts: PCollection[RawSlice], in_place: Sequence[WrittenBlock], monitor: Monitor
    ) -> None:
        settings = self.settings
        letters = None
        if settings.dead_letter_topic is not None:
            letters = DeadLetterTopic(self.access, settings.dead_letter_topic)
        annotate_slices(
            parts,
            in_place,
            clock=utc_now,
            handler=make_handler(
                settings,
                self.checkpoints,
                monitor,
                max_text_chars=settings.max_text_chars,
            ),
            writer=WriteSlice(
                make_writer(settings, self.store, merges=True),
                letters,
                monitor,
            ),
            committer=CommitOffsets(
                self.access,
                settings.group,
                self.topics.digests,
                output=self.output_id,
                monitor=monitor,
            ),
        )


def run_until_caught_up(jobs: StreamJobs) -> StreamReport:
    """Annotate all up to the ends that the topics have now; return when it is in place.

    A request to stop ends it at the next block.

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
    behind = GoesOn(in_process=jobs.choice.in_process)
    with stopping(jobs.drain.request, behind.say) as stop:
        for group in in_groups(ranges, size):
            if stop.is_set():
                break
            found = [(x, jobs.in_place(x)) for x in with_bases(group)]
            missing = [wanted for wanted, note in found if note is None]
            in_place = [note for _, note in found if note is not None]
            with open_desk(time.monotonic) as desk:
                monitor = desk.monitor if jobs.choice.in_process else Monitor()
                pipeline = jobs.bounded(missing, in_place, monitor)
                done = run_to_end(pipeline, desk, jobs.choice)
            for name, count in done.items():
                counters[name] = counters.get(name, 0) + count
            reached += len(group)
            log("in place", blocks=reached, of=len(ranges))
    return StreamReport(time.monotonic() - begin, not stop.is_set(), None, counters)


def run_unbounded(jobs: StreamJobs) -> StreamReport:
    """Annotate until a signal asks to end; then finish what is in flight and return.

    :raises PubnerError: if the broker, the output, a checkpoint or the runner fails.
    """
    begin = time.monotonic()
    asked = threading.Event()
    behind = GoesOn(jobs.choice.flink_rest, in_process=jobs.choice.in_process)
    with open_desk(time.monotonic) as desk, stopping(asked.set, behind.say):
        monitor = desk.monitor if jobs.choice.in_process else Monitor()
        try:
            job = submit(jobs.unbounded(monitor), jobs.choice, asked)
        except Exception as error:
            raise reason_of(desk, jobs.choice, error) from error
        if job is None:
            return StreamReport(time.monotonic() - begin, False, None, {})
        log("running", runner=jobs.choice.name, partitions=len(jobs.topics.partitions))
        watch = _Watch(jobs, job, asked, behind)
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
                watch.job.cancel()  # one that goes on by itself would go on writing
                raise cluster.error or reason_of(desk, jobs.choice, error) from error
        if state != PipelineState.DONE and savepoint is None:
            raise cluster.error or desk.error() or ended(jobs.choice, state)
        return StreamReport(
            time.monotonic() - begin,
            False,
            savepoint,
            counters or job.counters(),
            watch.stall.restarts,
        )


@dataclass(slots=True)
class _Watch:
    """Looks after a running stream: says how far it is, and passes on the request to end."""

    jobs: StreamJobs
    job: RunningJob
    asked: threading.Event
    behind: GoesOn = field(default_factory=GoesOn)
    drained: bool = field(default=False, init=False)
    """Whether all is committed and the runner's job, which reads no more, merely idles."""
    _ending: bool = field(default=False, init=False)
    stall: StallWatch = field(init=False)
    _standstill: Standstill = field(init=False)
    _reported: float = field(default=0.0, init=False)
    _unknown_since: float = field(default_factory=time.monotonic, init=False)
    """When all topics were known last."""

    def __post_init__(self) -> None:
        patience = _STANDSTILL_SECONDS + self.jobs.settings.flush_seconds
        self._standstill = Standstill(patience)
        self.stall = StallWatch(self.jobs.stall_seconds)

    def until_ended(self) -> str | None:
        """Return when the runner has ended the job: where its savepoint is, if it made one."""
        savepoint = None
        while not self.drained and not self.job.has_ended:
            if self.asked.wait(_LOOK_SECONDS) and not self._ending:
                self._ending = True
                savepoint = self._end()
            elif self._ending:
                time.sleep(_LOOK_SECONDS)
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
            self.behind.flink_job = job
            return cluster.stop_with_savepoint(job, timeout_seconds=_SAVEPOINT_SECONDS)
        log("draining: what was read is finished, nothing more is read")
        token = self.jobs.drain.request()
        if not self.jobs.choice.ends_drained:
            self._wait_until_drained(commit_metadata(self.jobs.output_id, token))
        return None

    def _find_job(self, cluster: FlinkCluster) -> str | None:
        """Return the id of our job, once the cluster knows it; None if the job ended before."""
        while (job := cluster.find_job(self.jobs.choice.job_name)) is None:
            if self.job.has_ended:
                return None
            time.sleep(_LOOK_SECONDS)
        return job

    def _wait_until_drained(self, note: str) -> None:
        """Return when the last commits of every partition are made; then end the idle job."""
        while not self.job.has_ended:
            try:
                if all(found == note for found in self._notes().values()):
                    self.drained = True
                    return
            except BrokerError as error:
                log("the broker does not answer, trying again", error=str(error))
            time.sleep(_LOOK_SECONDS)

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
            self.stall.blind(now)
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
        """Raise what trying again cannot help; a broker may not know a topic for a moment."""
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
        result = restarter.look(positions, now)
        if result is not None:
            self.job = result

    def _submit_again(self, place: str | None) -> RunningJob:
        """Submit the job again, with the state at `place` or without any."""
        jobs = replace(self.jobs, choice=self.jobs.choice.resumed_from(place))
        job = submit(jobs.unbounded(Monitor()), jobs.choice, self.asked)
        if job is None:
            raise RunnerError("the run was asked to end meanwhile.")
        return job

    def _warn(self, positions: Positions, now: float) -> None:
        """Say which partitions stand still, and what helps."""
        for partition, seconds in self._standstill.look(positions.begins, positions.ends, now):
            offset = positions.begins[partition]
            log(
                "a partition stands still; stop the run and start it without its savepoint: it "
                "goes on from the group's offsets and loses nothing",
                level=logging.WARNING,
                topic=partition.topic,
                partition=partition.partition,
                offset=offset,
                lag=positions.ends[partition] - offset,
                seconds=round(seconds),
            )


@contextmanager
def stopping(
    request: Callable[[], object], behind: Callable[[], None] = lambda: None
) -> Iterator[threading.Event]:
    """Turn SIGINT, SIGTERM and SIGHUP into `request`; a second one ends the process at once.

    The event that is given is set by the first. `behind` says what goes on after the second.
    """
    seen = threading.Event()

    def on_signal(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        if seen.is_set():
            behind()
            os._exit(128 + number)
        seen.set()
        # Not in the handler: a request may write a file, and what it interrupts may hold a lock.
        threading.Thread(target=ask, name="pubner-stop", daemon=True).start()

    def ask() -> None:
        try:
            request()
        except PubnerError as error:
            seen.clear()
            log("cannot ask the run to end, ask again", error=str(error))

    before = {number: signal.signal(number, on_signal) for number in stop_requests()}
    try:
        yield seen
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
