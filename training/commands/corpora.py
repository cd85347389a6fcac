"""The commands `pubner corpora fetch` and `pubner corpora check`."""

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field, field_validator

from schemas.errors import CorpusError, SettingsError
from schemas.tasks import TASKS
from training.corpora.catalogue import PUBLIC_URL, Use, known_entry
from training.corpora.check import CorpusReport, FileReport, check_corpora, report_json
from training.corpora.corpus import cache_root, corpora_root
from training.corpora.fetch import FetchedFile, Fetcher
from training.reports.progress import show_work
from worker.cli.command import Settings, command, human_console, print_table, write_json
from worker.cli.common_options import CorporaOptions, json_option

if TYPE_CHECKING:
    from rich.console import Console


_FETCHED = ("corpus", "split", "path", "blob", "status")


class FetchSettings(Settings):
    """The options of `pubner corpora fetch`."""

    corpus: tuple[str, ...] = Field(tuple(TASKS), description="the corpora to get, by name")
    to: Path | None = Field(
        None, description="the folder to put them in (default: the cache that other commands read)"
    )
    base_url: str = Field(
        PUBLIC_URL, description="URL of the files, as <base-url>/<folder>/<split>.tsv"
    )
    replace: bool = Field(False, description="overwrite existing files with other content")
    json_file: str | None = json_option("what was done")

    @field_validator("corpus")
    @classmethod
    def _known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            _require_known(name)
        return names


class CheckSettings(CorporaOptions):
    """The options of `pubner corpora check`."""

    corpus: tuple[str, ...] = Field(
        (), description="the corpora to check, by name or folder (default: all that are found)"
    )
    json_file: str | None = json_option("the report")


def _require_known(name: str) -> None:
    try:
        known_entry(name)
    except CorpusError as error:
        raise ValueError(str(error)) from error


@command(FetchSettings, prog="pubner corpora fetch")
def fetch(settings: FetchSettings) -> None:
    """Download corpora from their public repository, verified and resumable."""
    root = settings.to.expanduser() if settings.to is not None else cache_root(os.environ)
    entries = [known_entry(name) for name in settings.corpus]
    console = human_console(settings.json_file)
    for entry in entries:
        console.print(f"{entry.name}: {entry.licence}")
    with show_work(console) as work, work.stage("connecting") as stage:

        def progress(name: str, have: int, total: int | None) -> None:
            if stage.current().task != name:
                stage.begin(name, total=total, unit="bytes")
            stage.update(have, total)

        fetcher = Fetcher(
            sleep=time.sleep,
            progress=progress,
            base_url=settings.base_url.rstrip("/"),
            replace=settings.replace,
        )
        files = fetcher.fetch(entries, root)
    print_table(
        console,
        [(file.corpus, file.split, str(file.status), str(file.path)) for file in files],
        columns=("corpus", "split", "status", "file"),
    )
    write_json(
        {"folder": str(root), "files": [_fetched(file) for file in files]}, settings.json_file
    )


def _fetched(file: FetchedFile) -> dict[str, str]:
    return {name: str(getattr(file, name)) for name in _FETCHED}


@command(CheckSettings, prog="pubner corpora check")
def check(settings: CheckSettings) -> int:
    """Validate corpora: encoding, layout, tag transitions, labels, counts and digests.

    The exit status is 1 where one is broken.
    """
    root = corpora_root(settings.data, os.environ)
    if settings.data is not None and not root.is_dir():
        raise SettingsError(f"option --data {str(settings.data)!r}: no such folder")
    console = human_console(settings.json_file)
    with show_work(console) as work:
        reports = check_corpora(root, settings.corpus, work)
    print_table(
        console,
        [_row(report, file) for report in reports for file in report.files],
        columns=("corpus", "split", "tags", "sentences", "mentions", "git blob id", "verdict"),
        right=(3, 4),
    )
    for report in reports:
        _explain(console, report)
    trainable = [report.corpus for report in reports if report.trainable]
    console.print(f"Can be trained on: {', '.join(trainable) or 'none'}.")
    write_json(report_json(reports), settings.json_file)
    return int(any(report.broken for report in reports))


def _row(report: CorpusReport, file: FileReport) -> tuple[str, ...]:
    if file.problem_count:
        verdict = f"BROKEN: {file.problem_count:,} problems"
    elif file.difference:
        verdict = f"DIFFERS: {file.difference}"
    elif report.note:
        verdict = "not to be used"
    else:
        verdict = "ok"
    return (
        report.corpus,
        file.split,
        file.scheme,
        f"{file.sentences:,}",
        f"{file.mentions:,}",
        str(file.blob_status),
        verdict,
    )


def _explain(console: "Console", report: CorpusReport) -> None:
    """Print the problems of a corpus, each with its file, line and reason."""
    if report.note:
        console.print(f"{report.corpus}: {report.note}")
    if report.use == Use.EVALUATE:
        console.print(f"{report.corpus}: for evaluation only: {report.licence}", soft_wrap=True)
    if report.missing:
        console.print(f"{report.corpus}: missing in {report.folder}: {', '.join(report.missing)}")
    if report.lacking:
        lacking = " and no ".join(report.lacking)
        console.print(f"{report.corpus}: cannot be trained on: no {lacking} in {report.folder}")
    for file in report.files:
        for problem in file.problems:
            console.print(str(problem), soft_wrap=True)
        hidden = file.problem_count - len(file.problems)
        if hidden:
            console.print(f"{file.path}: and {hidden:,} more", soft_wrap=True)
    for warning in report.warnings:
        console.print(f"warning: {warning}", soft_wrap=True)
