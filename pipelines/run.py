"""Runs the pipeline, from its settings to blocks in place: progress, stopping, errors."""

import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from types import FrameType

import apache_beam as beam
from apache_beam.runners.runner import PipelineResult, PipelineState

from pipelines.checkpoints import Checkpoints
from pipelines.graph import annotate_files
from pipelines.handler import AnnotateHandler
from pipelines.monitor import Desk, Monitor, RunStoppedError, open_desk
from pipelines.progress import show_progress
from pipelines.reading import BlockReader
from pipelines.records import InputFile
from pipelines.runners import RunnerChoice, make_runner
from pipelines.settings import AnnotateSettings, ModelSettings, RunSettings
from pipelines.store import Store
from pipelines.writer import BlockWriter
from schemas.errors import PubnerError, SettingsError


class InterruptedRunError(PubnerError):
    """A run that a signal stopped; `exit_code` is 128 plus the signal, as shells have it."""

    def __init__(self, signal_number: int, output: str) -> None:
        super().__init__(
            f"stopped by {signal.Signals(signal_number).name}; what is in place in {output!r} "
            "stays, and the same command goes on from there"
        )
        self.exit_code = 128 + signal_number


@dataclass(frozen=True, slots=True)
class RunReport:
    """What only the run itself knows.

    `seconds` is its time in all, `annotating_seconds` that since the model was loaded (0 where no
    process of ours loaded one); `unreadable_inputs` counts files that could not be read although
    they were annotated before; `counters` are Beam's, none where the runner loses some.
    """

    seconds: float
    annotating_seconds: float
    unreadable_inputs: int
    counters: Mapping[str, int]


def utc_now() -> datetime:
    """Return the time of the system's clock in UTC."""
    return datetime.now(UTC)


def run_pipeline(
    settings: AnnotateSettings,
    files: Sequence[InputFile],
    *,
    checkpoints: Checkpoints,
    store: Store,
    choice: RunnerChoice,
) -> RunReport:
    """Annotate `files` into `store` and return when all is in place.

    :raises InterruptedRunError: if SIGINT or SIGTERM stopped it; what is in place stays.
    :raises PubnerError: if the output, a checkpoint or the runner fails.
    """
    begin = time.monotonic()
    with open_desk(time.monotonic) as desk:
        monitor = desk.monitor if choice.in_process else Monitor()
        pipeline = make_pipeline(choice)
        annotate_files(
            pipeline,
            files,
            reader=BlockReader(
                block_size=settings.block_size,
                checkpoint_id=checkpoints.id,
                settings=settings.row_settings,
                format=settings.input_format,
                clock=utc_now,
                monitor=monitor,
                reread_older=settings.reread_older,
            ),
            handler=make_handler(
                settings, checkpoints, monitor, max_text_chars=settings.max_text_chars
            ),
            writer=make_writer(settings, store),
        )
        with (
            stopping(desk, settings.output, in_process=choice.in_process),
            show_progress(desk, total_bytes=sum(file.size for file in files)),
        ):
            counters = run_to_end(pipeline, desk, choice)
        return RunReport(
            seconds=time.monotonic() - begin,
            annotating_seconds=desk.annotating_seconds(),
            unreadable_inputs=desk.counts.get("unreadable_inputs", 0),
            counters=counters if choice.counts_all else {},
        )


def make_pipeline(choice: RunnerChoice) -> beam.Pipeline:
    """Return an empty pipeline for a runner.

    :raises SettingsError: if Beam refuses an option behind `--`.
    """
    runner = make_runner(choice)
    try:
        pipeline = beam.Pipeline(runner=runner, options=choice.options)
    except ValueError as error:
        raise SettingsError(f"{choice.name}, options behind `--`: {error}") from error
    # Beam makes a folder for transforms of other languages, of which there are none here, and
    # removes it at the end of a run: one that is killed, or never begins, would leave it.
    shutil.rmtree(pipeline.local_tempdir, ignore_errors=True)
    return pipeline


def make_handler(
    settings: ModelSettings,
    checkpoints: Checkpoints,
    monitor: Monitor,
    *,
    max_text_chars: int | None,
) -> AnnotateHandler:
    """Return what runs the model in a run by `settings`."""
    return AnnotateHandler(
        checkpoints,
        device=settings.device,
        threads=settings.threads,
        chunk_size=settings.chunk_size,
        max_text_chars=max_text_chars,
        clock=utc_now,
        monitor=monitor,
    )


def make_writer(settings: RunSettings, store: Store, *, merges: bool = False) -> BlockWriter:
    """Return what puts blocks in place in a run by `settings`; a stream `merges`."""
    return BlockWriter(
        store=store,
        block_size=settings.block_size,
        settings=settings.row_settings,
        store_text=settings.store_text,
        merges=merges,
    )


def run_to_end(pipeline: beam.Pipeline, desk: Desk, choice: RunnerChoice) -> dict[str, int]:
    """Run to the end; return Beam's counters.

    :raises PubnerError: if a step of ours ended it, or the runner did.
    """
    try:
        result = pipeline.run()
        state = result.wait_until_finish()
    except Exception as error:
        raise reason_of(desk, choice, error) from error
    if state not in (None, PipelineState.DONE):
        raise desk.error() or ended(choice, state)
    return counters_of(result)


def ended(choice: RunnerChoice, state: object) -> PubnerError:
    """Return the error of a pipeline that the runner ended in another state than done."""
    return PubnerError(
        f"{choice.name} ended the pipeline in state {state}; its own log says why (--verbose)"
    )


def counters_of(result: PipelineResult) -> dict[str, int]:
    """Return Beam's counters, summed over steps; none where the runner keeps none."""
    try:
        found = result.metrics().query()["counters"]
    except Exception:  # a job server that is gone, or has no metrics of a job that was stopped
        return {}
    sums: dict[str, int] = {}
    for counter in found:
        name = counter.key.metric.name
        sums[name] = sums.get(name, 0) + int(counter.result or 0)
    return sums


def reason_of(desk: Desk, choice: RunnerChoice, error: Exception) -> Exception:
    """Return the error that ended the pipeline: the one a step reported, else Beam's own."""
    known = desk.error()
    if known is not None:
        return known
    if isinstance(error, PubnerError) or (choice.in_process and desk.failure is not None):
        return error
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return PubnerError(f"{choice.name} failed: {lines[-1]} (--verbose shows its log)")


@contextmanager
def stopping(desk: Desk, output: str, *, in_process: bool) -> Iterator[None]:
    """Turn SIGINT and SIGTERM into a request to stop; a second one ends the process at once."""
    seen: list[int] = []

    def on_signal(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        if seen or not in_process:
            sys.stderr.write("\n")
            sys.stderr.flush()
            os._exit(128 + number)
        seen.append(number)
        desk.stop()

    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, on_signal) for number in numbers}
    try:
        yield
    except RunStoppedError as error:
        raise InterruptedRunError(seen[0], output) from error
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
