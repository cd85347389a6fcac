"""The commands `pubner corpora fetch` and `pubner corpora check`."""

import os
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field, field_validator

from schemas.errors import CorpusError, SettingsError
from schemas.tasks import TASKS
from training.corpora.catalogue import PUBLIC_URL, known_entry
from training.corpora.check import CorpusReport, FileReport, check_corpora, report_json
from training.corpora.corpus import cache_root, corpora_root
from training.corpora.fetch import FetchedFile, Fetcher
from training.reports.progress import Stage, Work, show_work
from worker.cli.command import Settings, human_console, parse_settings, print_table, write_json

if TYPE_CHECKING:
    from rich.console import Console


class FetchSettings(Settings):
    """The options of `pubner corpora fetch`."""

    corpus: tuple[str, ...] = Field(default=tuple(TASKS), description="the corpora to get, by name")
    to: Path | None = Field(
        default=None,
        description="the folder to put them in (default: the cache that other commands read)",
    )
    base_url: str = Field(
        default=PUBLIC_URL, description="URL of the files, as <base-url>/<folder>/<split>.tsv"
    )
    replace: bool = Field(default=False, description="overwrite existing files with other content")
    json_file: str | None = Field(
        default=None, description="write what was done as JSON; - is standard output"
    )

    @field_validator("corpus")
    @classmethod
    def _known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            _require_known(name)
        return names


class CheckSettings(Settings):
    """The options of `pubner corpora check`."""

    corpus: tuple[str, ...] = Field(
        default=(),
        description="the corpora to check, by name or folder (default: all that are found)",
    )
    data: Path | None = Field(
        default=None,
        description="folder of the corpora (default: PUBNER_CORPORA, else the fetch cache)",
    )
    json_file: str | None = Field(
        default=None, description="write the report as JSON; - is standard output"
    )


def _require_known(name: str) -> None:
    try:
        known_entry(name)
    except CorpusError as error:
        raise ValueError(str(error)) from error


def fetch(argv: Sequence[str]) -> int:
    """Run `pubner corpora fetch`; return the exit status."""
    settings = parse_settings(
        FetchSettings,
        argv,
        prog="pubner corpora fetch",
        description="Download corpora from their public repository, verified and resumable.",
    )
    root = settings.to.expanduser() if settings.to is not None else cache_root(os.environ)
    entries = [known_entry(name) for name in settings.corpus]
    console = human_console(settings.json_file)
    for entry in entries:
        console.print(f"{entry.name}: {entry.licence}")
    with show_work(console) as work, ExitStack() as stack:
        fetcher = Fetcher(
            sleep=time.sleep,
            progress=_Bytes(work, stack),
            base_url=settings.base_url.rstrip("/"),
            replace=settings.replace,
        )
        files = fetcher.fetch(entries, root)
    print_table(
        console,
        [(file.corpus, file.split, str(file.status), str(file.path)) for file in files],
        columns=("corpus", "split", "status", "file"),
    )
    if settings.json_file is not None:
        write_json(
            {"folder": str(root), "files": [_fetched(file) for file in files]}, settings.json_file
        )
    return 0


def _fetched(file: FetchedFile) -> dict[str, str]:
    return {
        "corpus": file.corpus,
        "split": file.split,
        "path": str(file.path),
        "blob": file.blob,
        "status": str(file.status),
    }


class _Bytes:
    """Shows the download progress of the current file."""

    def __init__(self, work: Work, stack: ExitStack) -> None:
        self._work = work
        self._stack = stack
        self._name = ""
        self._stage: Stage | None = None

    def __call__(self, name: str, have: int, total: int | None) -> None:
        if self._stage is None or name != self._name:
            self._stack.close()
            self._name = name
            self._stage = self._stack.enter_context(self._work.stage(name, total, "bytes"))
        self._stage.update(have, total)


def check(argv: Sequence[str]) -> int:
    """Run `pubner corpora check`; return 0 if everything is valid, else 1."""
    settings = parse_settings(
        CheckSettings,
        argv,
        prog="pubner corpora check",
        description=(
            "Validate corpora: encoding, layout, tag transitions, labels, counts and digests. "
            "The exit status is 1 where one is broken."
        ),
    )
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
    if settings.json_file is not None:
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
