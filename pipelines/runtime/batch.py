"""Runs of batch pipelines: building, progress, stop requests, and errors."""

import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import NoReturn

import apache_beam as beam
import grpc
from apache_beam.runners.runner import PipelineState

from pipelines.blocks.elements import InputFile
from pipelines.graphs.annotate import annotate_files
from pipelines.inference.checkpoints import Checkpoints
from pipelines.inference.handler import AnnotateHandler
from pipelines.output.sink import Sink
from pipelines.output.store import Store
from pipelines.output.writer import BlockWriter
from pipelines.runners.cluster_check import check_cluster
from pipelines.runners.cluster_watch import watching_cluster
from pipelines.runners.options import RunnerChoice, make_runner
from pipelines.runners.reasons import reason
from pipelines.runners.running_job import RunningJob
from pipelines.settings.annotate import AnnotateSettings, ModelSettings, RunSettings
from pipelines.sources.files import BlockReader
from pipelines.telemetry.progress import annotating
from pipelines.telemetry.run_channel import RunChannel, WorkerChannel, open_run_channel
from schemas.errors import (
    InterruptedRunError,
    PubnerError,
    RunnerError,
    RunStoppedError,
    SettingsError,
    error_from_runner,
)
from worker.cli.progress import Meter, Progress
from worker.cli.signals import handling_stop_signals, stop_requests
from worker.system.clock import utc_now

_STOP_SECONDS = 4.0
"""Timeout after a stop request, when the process ends in any case."""


@dataclass(frozen=True, slots=True)
class RunReport:
    """The facts about a run that its output does not record.

    `seconds` is the total time, `annotating_seconds` the time since the model was loaded (0 if it
    was not loaded in this process); `unreadable_inputs` counts files that could not be read
    although they were annotated before; `counters` are Beam's, empty if the runner loses some.
    """

    seconds: float
    annotating_seconds: float
    unreadable_inputs: int
    counters: Mapping[str, int]


def run_pipeline(
    settings: AnnotateSettings,
    files: Sequence[InputFile],
    *,
    checkpoints: Checkpoints,
    store: Store,
    choice: RunnerChoice,
    meter: Meter,
    owns_process: bool = True,
    sink: Sink | None = None,
) -> RunReport:
    """Annotate `files` into `store`; return when all blocks are written.

    With another `sink` blocks go there, and `store` is only asked which are done already. `meter`
    shows the progress. `owns_process` is false where the run is part of another program,
    which is never ended.

    :raises InterruptedRunError: if a signal stopped it; what is written stays.
    :raises PubnerError: if the output, a checkpoint or the runner fails.
    """

    def build(pipeline: beam.Pipeline, channel: WorkerChannel) -> None:
        annotate_files(
            pipeline,
            files,
            reader=BlockReader(
                block_size=settings.block_size,
                checkpoint_id=checkpoints.id,
                settings=settings.row_settings,
                format=settings.input_format,
                clock=utc_now,
                channel=channel,
                reread_older=settings.reread_older,
            ),
            handler=make_handler(
                settings, checkpoints, channel, max_text_chars=settings.max_text_chars
            ),
            writer=make_writer(settings, store),
            sink=sink,
        )

    return run_bounded(
        build,
        choice,
        output=settings.output,
        meter=meter,
        progress=partial(annotating, total_bytes=sum(file.size for file in files)),
        owns_process=owns_process,
    )


def run_bounded(
    build: Callable[[beam.Pipeline, WorkerChannel], object],
    choice: RunnerChoice,
    *,
    output: str,
    meter: Meter,
    progress: Callable[[RunChannel], Progress],
    owns_process: bool = True,
) -> RunReport:
    """Run the pipeline that `build` fills, to its end.

    `output` is named where a signal stops the run. `meter` shows what `progress` computes.

    :raises InterruptedRunError: if a signal stopped it; what is written stays.
    :raises PubnerError: if the output, a checkpoint or the runner fails.
    """
    begin = time.monotonic()
    with open_run_channel(time.monotonic) as run_channel:
        pipeline = make_pipeline(choice)
        build(pipeline, run_channel.worker_side if choice.in_process else WorkerChannel())
        meter.follow(partial(progress, run_channel))
        with stopping(
            run_channel,
            output,
            in_process=choice.in_process,
            show=meter.show,
            owns_process=owns_process,
        ):
            counters = run_to_end(pipeline, run_channel, choice)
        return RunReport(
            seconds=time.monotonic() - begin,
            annotating_seconds=run_channel.annotating_seconds(),
            unreadable_inputs=run_channel.counts.get("unreadable_inputs", 0),
            counters=counters if choice.runner.counts_all else {},
        )


def make_pipeline(choice: RunnerChoice) -> beam.Pipeline:
    """Return an empty pipeline for a runner.

    :raises SettingsError: if Beam refuses an option after `--`.
    :raises RunnerError: if a server that the options name does not answer.
    """
    check_cluster(choice)
    runner = make_runner(choice)
    try:
        pipeline = beam.Pipeline(runner=runner, options=choice.options)
    except ValueError as error:
        raise SettingsError(f"{choice.name}, options after `--`: {error}") from error
    # Beam creates a folder for cross-language transforms, which are not used here, and removes it
    # at the end of a run: a run that is killed, or never begins, would leave it.
    shutil.rmtree(pipeline.local_tempdir, ignore_errors=True)
    return pipeline


def make_handler(
    settings: ModelSettings,
    checkpoints: Checkpoints,
    channel: WorkerChannel,
    *,
    max_text_chars: int | None,
) -> AnnotateHandler:
    """Return the model handler of a run with `settings`."""
    return AnnotateHandler(
        checkpoints,
        device=settings.device,
        threads=settings.threads,
        chunk_size=settings.chunk_size,
        max_text_chars=max_text_chars,
        clock=utc_now,
        channel=channel,
    )


def make_writer(settings: RunSettings, store: Store, *, merges: bool = False) -> BlockWriter:
    """Return the block writer of a run with `settings`; `merges` is for streams."""
    return BlockWriter(
        store=store,
        block_size=settings.block_size,
        settings=settings.row_settings,
        store_text=settings.store_text,
        merges=merges,
    )


def run_to_end(
    pipeline: beam.Pipeline, run_channel: RunChannel, choice: RunnerChoice
) -> dict[str, int]:
    """Run a pipeline to its end; return Beam's counters.

    :raises PubnerError: if a step or the runner failed.
    """
    with watching_cluster(choice, time.monotonic) as watch:
        try:
            job = RunningJob(pipeline.run(), choice)
            state = job.wait()
        except Exception as error:
            raise watch.error or reason_of(run_channel, choice, error) from error
        if state != PipelineState.DONE:
            raise watch.error or run_channel.error() or ended(choice, state)
        return job.counters()


def ended(choice: RunnerChoice, state: object) -> PubnerError:
    """Return the error for a pipeline that ended in another state than DONE."""
    return PubnerError(
        f"{choice.name} ended the pipeline in state {state}; its own log says why (--verbose)"
    )


def reason_of(run_channel: RunChannel, choice: RunnerChoice, error: Exception) -> Exception:
    """Return the error that ended the pipeline: the one a step reported, or that Beam names."""
    known = run_channel.error() or error_from_runner(error)
    if known is not None:
        return known
    if isinstance(error, grpc.RpcError | grpc.FutureTimeoutError):
        return RunnerError(
            f"{choice.name}: the job server {choice.job_server} refused the job, or does not "
            f"answer any more: {reason(error)}; see its log. What is written stays"
        )
    # A RuntimeError is Beam's own wrapper, whose last line names the original error.
    kind = "" if isinstance(error, RuntimeError) else f"{type(error).__name__}: "
    return PubnerError(f"{choice.name} failed: {kind}{reason(error)} (--verbose shows its log)")


def _end_process(number: int, message: str) -> NoReturn:
    """End the process at once, with the exit status of a signal."""
    with suppress(OSError):  # the terminal was closed
        os.write(2, f"\n{message}\n".encode() if message else b"\n")
    os._exit(128 + number)


@contextmanager
def stopping(
    run_channel: RunChannel,
    output: str,
    *,
    in_process: bool,
    show: Callable[[str], object],
    owns_process: bool = True,
) -> Iterator[None]:
    """Turn SIGINT, SIGTERM and SIGHUP into a request to stop; a second one ends the process.

    `show` is called at once with a message. The steps stop after the current chunk of citations; if
    that takes longer than a few seconds, the process ends without them: the written blocks are
    always complete.

    Where the run is part of another program (`owns_process` false), SIGINT alone is such a request,
    in the main thread alone, and a second one is a KeyboardInterrupt.
    """
    if not owns_process and threading.current_thread() is not threading.main_thread():
        yield
        return
    ended = threading.Event()

    def again(number: int) -> None:
        if not owns_process:
            raise KeyboardInterrupt
        _end_process(number, "")

    def first(number: int) -> None:
        if not in_process:
            again(number)
        show(
            f"pubner: {signal.Signals(number).name}: the block in flight is abandoned after the "
            "current chunk, and what is written stays; a second signal stops now"
        )
        run_channel.stop()
        if owns_process:
            later = partial(end_later, number)
            threading.Thread(target=later, name="pubner-stop", daemon=True).start()

    def end_later(number: int) -> None:
        if not ended.wait(_STOP_SECONDS):
            _end_process(number, f"pubner: {InterruptedRunError(number, output)}")

    handled = stop_requests() if owns_process else (signal.SIGINT,)
    with handling_stop_signals(first, again, handled) as seen:
        try:
            yield
        except RunStoppedError as error:
            raise InterruptedRunError(seen[0], output) from error
        finally:
            ended.set()
