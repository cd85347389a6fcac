"""The command `pubner stream`: annotates Kafka topics, up to their ends or continuously."""

import logging
import shlex
import uuid
from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from pipelines.runners.names import find_runner
from pipelines.runners.preflight import check_runner_and_device
from pipelines.settings.stream import StreamSettings
from pipelines.telemetry.library_logs import silence_libraries
from pipelines.telemetry.logs import log, logging_periodically, logging_to
from schemas.errors import SettingsError
from worker.cli.command import Arguments, command, human_console, print_figures, write_json

if TYPE_CHECKING:
    from pipelines.runtime.stream import StreamReport
    from pipelines.runtime.stream_start import Start

PROG = "pubner stream"
_ELSEWHERE = "the group read them with another output"


@command(StreamSettings, prog=PROG, beam=True)
def run(settings: StreamSettings, arguments: Arguments) -> None:
    """Annotate citations as they arrive in Kafka topics and write three Parquet data sets.

    They are mentions, citations and dead letters, one row of the last two for each message. The
    consumer group's offsets are committed after each write, so a run resumes where the last run of
    the group ended. SIGTERM stops it after the records in flight.
    """
    runner = check_runner_and_device(settings, arguments.rest)
    if not settings.until_caught_up and not find_runner(runner).unbounded:
        raise SettingsError(
            f"--runner {runner} cannot run a stream without end; give --until-caught-up, or "
            "another runner such as PrismRunner or FlinkRunner"
        )
    if not settings.verbose:
        silence_libraries()
    with logging_to(verbose=settings.verbose), ExitStack() as starting:
        starting.enter_context(logging_periodically("starting"))
        _stream(settings, arguments, starting.close)


def _stream(settings: StreamSettings, arguments: Arguments, started: Callable[[], None]) -> None:
    from pipelines.graphs.stream_plan import find_topics
    from pipelines.inference.checkpoints import choose_checkpoints
    from pipelines.kafka.drain import DrainSignal
    from pipelines.kafka.topics import check_group_has_no_members
    from pipelines.output.manifest import open_output, other_sources
    from pipelines.runners.options import StreamJob, choose_runner, without_savepoint
    from pipelines.runtime.stream import run_unbounded, run_until_caught_up
    from pipelines.runtime.stream_jobs import StreamJobs
    from pipelines.runtime.stream_start import check_start

    name = f"pubner-stream-{settings.group}-{uuid.uuid4().hex[:8]}"
    job = StreamJob(name, settings.until_caught_up)
    checkpoints = choose_checkpoints(settings, poll_seconds=settings.registry_seconds)
    choice = choose_runner(settings.runner, arguments.rest, prog=PROG, stream=job)
    choice.check_paths({"--output": settings.output, "--registry": settings.registry})
    if choice.exposure is not None:
        log(choice.exposure, level=logging.WARNING)
    access = settings.access(remote=not choice.in_process)
    topics = find_topics(access, settings.topic)
    check_group_has_no_members(access, settings.group)
    if settings.dead_letter_topic is not None:
        find_topics(access, [settings.dead_letter_topic])
    with open_output(
        settings.output, block_size=settings.block_size, sources=topics.digests
    ) as store:
        # Named by the group, so that a run restored from a savepoint sees its own requests.
        drain = DrainSignal(settings.output, settings.group)
        drain.clear()
        start = check_start(
            access,
            settings.group,
            topics,
            store,
            block_size=settings.block_size,
            resumed=any(word.startswith("--savepoint_path") for word in arguments.rest),
        )
        jobs = StreamJobs(
            settings, access, topics, checkpoints, store, choice, drain, start.output_id
        )
        started()
        try:
            report = run_until_caught_up(jobs) if job.bounded else run_unbounded(jobs)
        finally:
            drain.clear()
        others = other_sources(store, topics=True)
    summary = summary_of(settings, report, checkpoints.id, start) | {"files_in_output": others}
    if report.savepoint is not None:
        beam = [*without_savepoint(arguments.rest), f"--savepoint_path={report.savepoint}"]
        resume = shlex.join(["pubner", "stream", *arguments.own, "--", *beam])
        summary["resume"] = resume
        log("stopped with a savepoint", savepoint=report.savepoint, resume=resume)
    write_json(summary, settings.json_file)
    print_summary(settings, summary)


def summary_of(
    settings: StreamSettings, report: "StreamReport", checkpoint_id: str, start: "Start"
) -> dict[str, Any]:
    """Return the summary as JSON values.

    `checkpoint_id` is the checkpoint that the run began with; if it follows a registry, each row
    has its own. `offsets_removed` are those that retention removed before they were read: before
    the run, from `start`, and during it, from the runner's counters.
    """
    counted = report.counters.get("offsets_removed", 0)
    if settings.until_caught_up:  # otherwise the readers count those removed before the run
        counted += start.removed
    return {
        "topics": list(settings.topic),
        "group": settings.group,
        "output": settings.output,
        "checkpoint_id": checkpoint_id,
        "registry": settings.registry,
        "caught_up": report.caught_up,
        **_figures(report),
        "offsets_removed": max(counted, start.removed),
        "missing": list(start.missing),
        "seconds": round(report.seconds, 3),
        "savepoint": report.savepoint,
        "stall_restarts": report.restarts,
        "counters": dict(sorted(report.counters.items())),
    }


def _figures(report: "StreamReport") -> dict[str, int | None]:
    """Return Beam's counters; None for each if the runner reports no counters of the job."""
    counters = report.counters
    names = ("records", "citations", "mentions", "dead_letters", "parts_written")
    if not counters and not report.caught_up:
        return dict.fromkeys(names)
    dead_letters = sum(
        number for name, number in counters.items() if name.startswith("dead_letters_")
    )
    counted = {**counters, "dead_letters": dead_letters, "parts_written": counters.get("blocks", 0)}
    return {name: counted.get(name, 0) for name in names}


def print_summary(settings: StreamSettings, summary: dict[str, Any]) -> None:
    """Print the summary for people."""
    from pipelines.runtime.stream_start import format_missing

    console = human_console(settings.json_file)
    rows: list[tuple[str, object, str]] = [
        ("messages", _shown(summary["records"]), ", ".join(settings.topic)),
        ("citations", _shown(summary["citations"]), "annotated, deleted or without text"),
        ("mentions", _shown(summary["mentions"]), ""),
        ("dead letters", _shown(summary["dead_letters"]), ""),
    ]
    if summary["offsets_removed"]:
        why = "by retention before they were read"
        rows.append(("offsets removed", summary["offsets_removed"], why))
    rows.append(("slices written", _shown(summary["parts_written"]), "of blocks"))
    if summary["stall_restarts"]:
        rows.append(("restarts", summary["stall_restarts"], "of a stalled job"))
    rows += [("seconds", summary["seconds"], "in all"), ("output", "", settings.output)]
    if summary["missing"]:
        count = sum(gap["end"] - gap["begin"] for gap in summary["missing"])
        rows.append(("not in it", count, f"{format_missing(summary['missing'])}: {_ELSEWHERE}"))
    if summary.get("files_in_output"):
        from pipelines.output.manifest import describe_mixed_sources

        rows.append(("", "", describe_mixed_sources(summary["files_in_output"], topics=True)))
    print_figures(console, rows, alarming=())


def _shown(figure: int | None) -> int | str:
    return "not counted" if figure is None else figure
