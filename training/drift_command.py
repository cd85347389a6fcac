"""The command `pubner drift`: whether what is found changes from day to day."""

from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

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
from training.drift.words import change_word, excess_word, no_warnings_words, share_word
from training.pages import require_writable
from training.progress import show_work
from worker.checkpoint import resolve_checkpoint
from worker.command import Settings, human_console, parse_settings, print_table, write_json
from worker.drift_index import DriftLimits
from worker.registry.cache import default_cache

if TYPE_CHECKING:
    from rich.console import Console

_USUAL = DriftLimits()


class DriftSettings(Settings):
    """The options of `pubner drift`."""

    output: str = Field(description="the output of annotate or stream: a folder, or s3://…")
    checkpoint: tuple[str, ...] = Field(
        default=("default",),
        description="checkpoints whose references are compared with, by folder, or `default`; "
        "those that annotated nothing here do no harm",
    )
    registry: str | None = Field(
        default=None,
        min_length=1,
        description="a checkpoint registry, whose references are compared with, too; they go "
        "before the shipped checkpoint's, but behind those of checkpoints that are named",
    )
    checkpoint_cache: Path | None = Field(
        default=None,
        description="where checkpoints of a remote registry are kept, to count word pieces with "
        "(default: ~/.cache/pubner/checkpoints)",
    )
    since: date | None = Field(default=None, description="the first day (UTC), as 2026-01-31")
    until: date | None = Field(default=None, description="the last day (UTC)")
    sample: int = Field(
        default=1000,
        ge=0,
        description="texts a day in which unknown word pieces are counted; 0 counts none, and "
        "fetches no checkpoint from a registry; fewer than --min-citations are not judged",
    )
    max_psi: float = Field(
        default=_USUAL.psi,
        gt=0,
        description="warn where the scores' population stability index is more, beyond chance",
    )
    max_mentions_change: float = Field(
        default=_USUAL.mentions_change,
        gt=0,
        description="warn where a head's mentions per citation change by more than this part",
    )
    max_unknown_factor: float = Field(
        default=_USUAL.unknown_factor,
        ge=1,
        description="warn where the share of unknown word pieces is more times the reference's",
    )
    max_unknown_points: float = Field(
        default=_USUAL.unknown_points,
        ge=0,
        description="… and by more than this part of all word pieces higher",
    )
    min_citations: int = Field(
        default=_USUAL.citations, ge=1, description="judge no day with fewer citations"
    )
    min_mentions: int = Field(
        default=_USUAL.mentions, ge=1, description="judge no head with fewer mentions"
    )
    html: Path | None = Field(default=None, description="write a page (HTML) with plots")
    fail_on_warning: bool = Field(default=False, description="exit with 1 where there is a warning")
    json_file: str | None = Field(
        default=None, description="write all figures as JSON; - is standard output"
    )

    def limits(self) -> DriftLimits:
        """Return the limits that the options set."""
        return DriftLimits(
            psi=self.max_psi,
            mentions_change=self.max_mentions_change,
            unknown_factor=self.max_unknown_factor,
            unknown_points=self.max_unknown_points,
            citations=self.min_citations,
            mentions=self.min_mentions,
        )


def run(argv: Sequence[str]) -> int:
    """Run `pubner drift`; return the exit status: 1 for a warning, where that is asked for.

    :raises PubnerError: with one line to show.
    """
    settings = parse_settings(
        DriftSettings,
        argv,
        prog="pubner drift",
        description="Compare what an output's checkpoints found on each day with their references: "
        "mentions per citation, scores, and unknown word pieces.",
        positional="output",
    )
    if settings.html is not None:
        require_writable(settings.html)
    known = _known(settings)
    output = StoredOutput(settings.output)
    console = human_console(settings.json_file)
    with (
        show_work(console) as work,
        work.stage("reading", total=len(output.names), unit="files") as stage,
    ):
        tally = gather(
            output,
            known,
            since=settings.since,
            until=settings.until,
            sample=settings.sample,
            progress=stage.advance,
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
    given = known_checkpoints([resolve_checkpoint(name) for name in settings.checkpoint])
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
        for sentence in one.told_not_judged(report.limits):
            console.print(sentence, soft_wrap=True)
    for checkpoint_id, day, warning in report.warnings:
        console.print(f"warning: {day} {checkpoint_id}: {warning.message}", soft_wrap=True)
    if not report.warnings:
        console.print(no_warnings_words(report), soft_wrap=True)


def _print_days(console: "Console", one: CheckpointReport, limits: DriftLimits) -> None:
    print_table(
        console,
        [
            (
                day.day.isoformat(),
                f"{day.tally.citations:,}",
                *(
                    f"{drift.mentions_per_citation:.2f} ({change_word(drift)})\n"
                    f"PSI {excess_word(drift, limits)}"
                    for drift in day.heads.values()
                ),
                share_word(day.tally.unknown_share),
                len(day.warnings),
            )
            for day in one.days
        ],
        columns=("day", "citations", *one.heads, "unknown", "warnings"),
        right=range(1, 4 + len(one.heads)),
    )
