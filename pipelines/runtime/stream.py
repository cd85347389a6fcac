"""Runs of streams: up to the current end offsets, or until a stop request."""

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass

from apache_beam.runners.runner import PipelineState

from pipelines.graphs.stream_plan import (
    find_positions,
    plan_ranges,
    with_bases,
)
from pipelines.runners.cluster_watch import watching_cluster
from pipelines.runners.running_job import submit
from pipelines.runtime.batch import (
    ended,
    reason_of,
    run_to_end,
)
from pipelines.runtime.left_behind import RemainingJob
from pipelines.runtime.stream_jobs import StreamJobs
from pipelines.runtime.stream_signals import stopping
from pipelines.runtime.stream_watch import JobWatch
from pipelines.telemetry.logs import log
from pipelines.telemetry.run_channel import WorkerChannel, open_run_channel
from worker.system.batching import in_groups

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
    size = _ROUND_BLOCKS if not jobs.choice.runner.unbounded else max(1, len(ranges))
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
        watch = JobWatch(jobs, job, asked, remaining)
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
            watch.restarts,
        )
