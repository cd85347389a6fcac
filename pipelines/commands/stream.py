"""The command `pubner stream`: annotates Kafka topics, up to their ends or continuously."""

import logging
import shlex
import uuid
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from schemas.errors import SettingsError
from worker.cli.command import human_console, parse_settings, print_table, write_json

if TYPE_CHECKING:
    from pipelines.runtime.stream import StreamReport
    from pipelines.runtime.stream_start import Start
    from pipelines.settings.stream import StreamSettings

PROG = "pubner stream"
DESCRIPTION = (
    "Annotate citations as they arrive in Kafka topics and write three Parquet data sets: "
    "mentions, citations and dead letters, one row of the last two for each message. The consumer "
    "group's offsets are committed after each write, so a run resumes where the last run of the "
    "group ended. SIGTERM stops it after the records in flight. Beam's own pipeline options may "
    "follow after `--`."
)
_ELSEWHERE = "the group read them with another output"


def run(argv: Sequence[str]) -> int:
    """Run the command with the arguments after `pubner stream`; return its exit code.

    :raises PubnerError: with a one-line message for the user.
    """
    arguments = list(argv)
    split = arguments.index("--") if "--" in arguments else len(arguments)
    from pipelines.commands.annotate import check_runner_and_device
    from pipelines.runners.names import find_runner
    from pipelines.settings.stream import StreamSettings
    from pipelines.telemetry.library_logs import silence_libraries
    from pipelines.telemetry.logs import logging_periodically, logging_to

    settings = parse_settings(StreamSettings, arguments[:split], prog=PROG, description=DESCRIPTION)
    runner = check_runner_and_device(settings, arguments[split + 1 :])
    if not settings.until_caught_up and not find_runner(runner).unbounded:
        raise SettingsError(
            f"--runner {runner} cannot run a stream without end; give --until-caught-up, or "
            "another runner such as PrismRunner or FlinkRunner"
        )
    if not settings.verbose:
        silence_libraries()
    with logging_to(verbose=settings.verbose), ExitStack() as starting:
        starting.enter_context(logging_periodically("starting"))
        return _stream(settings, arguments[split + 1 :], arguments, starting.close)


def _stream(
    settings: "StreamSettings",
    beam_arguments: Sequence[str],
    arguments: Sequence[str],
    started: Callable[[], None],
) -> int:
    from pipelines.graphs.stream_plan import find_topics
    from pipelines.inference.checkpoints import choose_checkpoints
    from pipelines.kafka.drain import DrainSignal
    from pipelines.kafka.topics import check_group_has_no_members
    from pipelines.output.manifest import open_output, other_sources
    from pipelines.runners.options import StreamJob, choose_runner, without_savepoint
    from pipelines.runtime.stream import run_unbounded, run_until_caught_up
    from pipelines.runtime.stream_jobs import StreamJobs
    from pipelines.runtime.stream_start import check_start
    from pipelines.telemetry.logs import log

    name = f"pubner-stream-{settings.group}-{uuid.uuid4().hex[:8]}"
    job = StreamJob(name, settings.until_caught_up)
    checkpoints = choose_checkpoints(settings, poll_seconds=settings.registry_seconds)
    choice = choose_runner(settings.runner, beam_arguments, prog=PROG, stream=job)
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
            resumed=any(word.startswith("--savepoint_path") for word in beam_arguments),
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
        resume_arguments = [*without_savepoint(arguments), *(() if "--" in arguments else ("--",))]
        resume = shlex.join(
            ["pubner", "stream", *resume_arguments, f"--savepoint_path={report.savepoint}"]
        )
        summary["resume"] = resume
        log("stopped with a savepoint", savepoint=report.savepoint, resume=resume)
    if settings.json_file is not None:
        write_json(summary, settings.json_file)
    print_summary(settings, summary)
    return 0


def summary_of(
    settings: "StreamSettings", report: "StreamReport", checkpoint_id: str, start: "Start"
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


def print_summary(settings: "StreamSettings", summary: dict[str, Any]) -> None:
    """Print the summary for people."""
    from pipelines.runtime.stream_start import format_missing

    console = human_console(settings.json_file)
    restarts: list[tuple[object, object, object]] = []
    if summary["stall_restarts"]:
        restarts = [("restarts", f"{summary['stall_restarts']:,}", "of a stalled job")]
    rows: list[tuple[object, object, object]] = [
        ("messages", _shown(summary["records"]), ", ".join(settings.topic)),
        ("citations", _shown(summary["citations"]), "annotated, deleted or without text"),
        ("mentions", _shown(summary["mentions"]), ""),
        ("dead letters", _shown(summary["dead_letters"]), ""),
        ("slices written", _shown(summary["parts_written"]), "of blocks"),
        *restarts,
        ("seconds", f"{summary['seconds']:,.1f}", "in all"),
        ("output", "", settings.output),
    ]
    if summary["offsets_removed"]:
        why = "by retention before they were read"
        rows.insert(4, ("offsets removed", _shown(summary["offsets_removed"]), why))
    if summary["missing"]:
        count = sum(gap["end"] - gap["begin"] for gap in summary["missing"])
        rows.append(
            ("not in it", _shown(count), f"{format_missing(summary['missing'])}: {_ELSEWHERE}")
        )
    if summary.get("files_in_output"):
        from pipelines.output.manifest import describe_mixed_sources

        rows.append(("", "", describe_mixed_sources(summary["files_in_output"], topics=True)))
    print_table(console, rows, right=[1])


def _shown(figure: int | None) -> str:
    return "not counted" if figure is None else f"{figure:,}"
