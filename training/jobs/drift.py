"""The command `pubner drift`: reports changes of annotations over time."""

from typing import TYPE_CHECKING

from schemas.errors import InputError
from training.drift.known import Known, KnownWithRegistry, known_checkpoints
from training.drift.page import write_page
from training.drift.reading import StoredOutput
from training.drift.report import (
    CheckpointReport,
    DriftReport,
    gather,
    make_report,
    report_json,
)
from training.drift.words import change_text, excess_text, no_warnings_text, percent_text
from training.reports.pages import require_writable
from training.settings.drift import DriftSettings
from worker.cli.command import human_console, print_table, write_json
from worker.cli.progress import Meter, show_progress
from worker.drift.index import DriftLimits
from worker.registry.cache import default_cache
from worker.registry.names import checkpoint_folder

if TYPE_CHECKING:
    from rich.console import Console


def report_drift(settings: DriftSettings) -> int:
    """Run `pubner drift`; return the exit status: 1 for a warning with --fail-on-warning.

    :raises PubnerError: with a one-line message for the user.
    """
    if settings.html is not None:
        require_writable(settings.html)
    console = human_console(settings.json_file)
    with show_progress(Meter()) as meter:
        known = _known(settings)
        meter.begin("listing blocks")
        output = StoredOutput(settings.output)
        meter.begin("reading", total=len(output.names), unit="blocks")
        tally = gather(
            output,
            known,
            since=settings.since,
            until=settings.until,
            sample=settings.sample,
            progress=meter.advance,
        )
    if not tally.days:
        between = "" if settings.since is settings.until is None else " in these days"
        raise InputError(
            f"{settings.output!r} holds no annotated citation{between}; name the --output of an "
            "annotate or stream run"
        )
    report = make_report(settings.output, tally, known, settings.limits())
    _print(console, report)
    if settings.html is not None:
        write_page(report, settings.html)
        console.print(f"The page is {settings.html}", soft_wrap=True)
    if settings.json_file is not None:
        write_json(report_json(report), settings.json_file)
    return 1 if settings.fail_on_warning and report.warnings else 0


def _known(settings: DriftSettings) -> Known:
    given = known_checkpoints(
        [
            checkpoint_folder(name, settings.registry, settings.checkpoint_cache)
            for name in settings.checkpoint
        ]
    )
    if settings.registry is None:
        return given
    return KnownWithRegistry(
        given,
        settings.registry,
        cache=settings.checkpoint_cache or default_cache(),
        folders_first="checkpoint" in settings.model_fields_set,
        tokenisers=settings.sample > 0,
    )


def _print(console: "Console", report: DriftReport) -> None:
    for one in report.checkpoints:
        console.print(
            f"Checkpoint {one.checkpoint_id}, compared with {one.compared_with}", soft_wrap=True
        )
        _print_days(console, one, report.limits)
        for sentence in one.not_judged_sentences(report.limits):
            console.print(sentence, soft_wrap=True)
    for checkpoint_id, day, warning in report.warnings:
        console.print(f"warning: {day} {checkpoint_id}: {warning.message}", soft_wrap=True)
    if not report.warnings:
        console.print(no_warnings_text(report), soft_wrap=True)


def _print_days(console: "Console", one: CheckpointReport, limits: DriftLimits) -> None:
    from rich.text import Text

    print_table(
        console,
        [
            (
                day.day.isoformat(),
                f"{day.tally.citations:,}",
                *(
                    Text(
                        f"{drift.mentions_per_citation:.2f} ({change_text(drift)})\n"
                        f"PSI {excess_text(drift, limits)}"
                    )
                    for drift in day.heads.values()
                ),
                percent_text(day.tally.unknown_share),
                len(day.warnings),
            )
            for day in one.days
        ],
        columns=("day", "citations", *one.heads, "unknown", "warnings"),
        right=range(1, 4 + len(one.heads)),
    )
