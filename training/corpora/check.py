"""Validation of corpora on disk: every line, tag transition, label, count and digest."""

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from schemas.errors import CorpusError
from training.corpora.agreement import compare_splits
from training.corpora.catalogue import CatalogueFile, Split, Use, catalogue
from training.corpora.corpus import Corpus, known_folder, mention_count, open_corpus
from training.corpora.digests import file_blob_id
from training.corpora.layouts.protocol import Oddity
from training.corpora.layouts.table import LAYOUTS, LayoutName
from training.corpora.schemes import Scheme
from training.corpora.tsv import EMPTY, Problem, Sentence, detect_file_scheme, scan
from training.reports.progress import Work
from worker.cli.input_files import irregular_kind

SHOWN_PROBLEMS = 5
"""The number of problems per file that are reported in full; all are counted."""


class BlobStatus(StrEnum):
    """The result of comparing a file's git blob id with the catalogue."""

    VERIFIED = "verified"
    REPAIRED = "verified after repair"
    DIFFERS = "differs"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class FileReport:
    """The validation result of one file.

    `problems` are the first few of `problem_count`. `difference` describes how the counts of a
    catalogue's corpus differ from the published ones (else empty).
    """

    corpus: str
    split: str
    path: Path
    scheme: str
    sentences: int
    mentions: int
    blob: str
    blob_status: BlobStatus
    problems: tuple[Problem, ...]
    problem_count: int
    difference: str

    @property
    def sound(self) -> bool:
        """Whether the file has no problem and the published counts."""
        return not self.problem_count and not self.difference


@dataclass(frozen=True, slots=True)
class CorpusReport:
    """The validation result of one corpus: its files, missing files, and whether it is trainable.

    `note` is the catalogue's reason why not, or the error that prevented reading it. `warnings` do
    not prevent training. With the `use` `evaluate` its terms forbid training. `suffix` follows the
    split in the names of its files.
    """

    corpus: str
    folder: str
    licence: str
    files: tuple[FileReport, ...]
    missing: tuple[str, ...]
    note: str
    warnings: tuple[Problem, ...] = ()
    use: str = ""
    suffix: str = ".tsv"

    @property
    def broken(self) -> bool:
        """Whether a file is invalid or missing."""
        return bool(self.note or self.missing) or not all(file.sound for file in self.files)

    @property
    def trainable(self) -> bool:
        """Whether train and devel exist and are valid, and neither flaws nor terms are known."""
        sound = {file.split for file in self.files if file.sound}
        return not self.note and self.use != Use.EVALUATE and {Split.TRAIN, Split.DEVEL} <= sound

    @property
    def lacking(self) -> tuple[str, ...]:
        """The missing files that prevent training on an otherwise valid corpus."""
        there = {file.split for file in self.files}
        needed = (split for split in (Split.TRAIN, Split.DEVEL) if split not in there)
        return () if self.broken else tuple(f"{split}{self.suffix}" for split in needed)


def check_corpora(
    root: Path, names: Sequence[str] = (), work: Work | None = None
) -> list[CorpusReport]:
    """Check the corpora `names` under `root`; without names, all corpora found there.

    `work` receives the progress.

    :raises CorpusError: if there is nothing to check.
    """
    present = names or [
        entry.name for entry in catalogue().values() if known_folder(root, entry).is_dir()
    ]
    if not present:
        raise CorpusError(
            f"no known corpus lies under {root}; name a folder with --data, or get the corpora "
            "with: pubner corpora fetch"
        )
    reports = []
    with (work or Work()).stage("checking", len(present), "corpora") as stage:
        for done, name in enumerate(present):
            stage.update(done, len(present), name)
            reports.append(_check_named(root, name))
    return reports


def _check_named(root: Path, name: str) -> CorpusReport:
    try:
        corpus = open_corpus(root, name)
    except CorpusError as error:
        return CorpusReport(name, str(root / name), "", (), (), str(error))
    present = [split for split in Split if os.path.lexists(corpus.path(split))]
    scanned = {split: _scan_file(corpus, split) for split in present}
    files = {split: report for split, (report, _, _) in scanned.items()}
    warnings = [problem for _, _, left_out in scanned.values() for problem in left_out]
    if all(not report.problem_count for report in files.values()):
        for finding in compare_splits(corpus, {s: read for s, (_, read, _) in scanned.items()}):
            if not finding.breaks:
                warnings.append(finding.problem)
                continue
            split = next(s for s in present if corpus.path(s) == finding.problem.path)
            files[split] = _with_problem(files[split], finding.problem)
    entry = corpus.entry
    missing: tuple[str, ...] = ()
    if entry is not None and not entry.broken:
        missing = tuple(
            corpus.path(file.split).name for file in entry.files if file.split not in present
        )
    return CorpusReport(
        corpus.name,
        str(corpus.folder),
        entry.licence if entry is not None else "",
        tuple(files.values()),
        missing,
        entry.broken if entry is not None else "",
        tuple(warnings),
        "" if entry is None else str(entry.use),
        corpus.layout.suffix,
    )


def _with_problem(report: FileReport, problem: Problem) -> FileReport:
    shown = (*report.problems, problem)[:SHOWN_PROBLEMS]
    return replace(report, problems=shown, problem_count=report.problem_count + 1, difference="")


def _scan_file(
    corpus: Corpus, split: Split
) -> tuple[FileReport, tuple[Sentence, ...], tuple[Problem, ...]]:
    """Check the existing file of `split`; return its report, valid sentences, and what is left out.

    :raises CorpusError: if it cannot be read at all.
    """
    path = corpus.path(split)
    known = known_file(corpus, split)
    if not corpus.has(split):
        return _no_file(corpus, split), (), ()
    left_out: list[Problem] = []
    sentences: list[Sentence] = []
    problem_count = 0
    problems: list[Problem] = []
    for found in corpus.scan(split):
        if isinstance(found, Sentence):
            sentences.append(found)
            continue
        if isinstance(found, Oddity):
            left_out.append(found.problem)
            continue
        problem_count += 1
        if len(problems) < SHOWN_PROBLEMS:
            problems.append(found)
    if not sentences and not problem_count:
        problem_count = 1
        problems.append(Problem(path, 1, EMPTY))
    if problem_count and corpus.labels is None and corpus.layout is LAYOUTS[LayoutName.COLUMNS]:
        problems[0] = _of_another_scheme(problems[0], corpus.scheme) or problems[0]
    mentions = sum(map(mention_count, sentences))
    blob = file_blob_id(path)
    report = FileReport(
        corpus.name,
        str(split),
        path,
        _layout_name(corpus),
        len(sentences),
        mentions,
        blob,
        _blob_status(blob, known),
        tuple(problems),
        problem_count,
        "" if problem_count else count_difference(known, len(sentences), mentions),
    )
    return report, tuple(sentences), tuple(left_out)


def _no_file(corpus: Corpus, split: Split) -> FileReport:
    """Return the report of a path that should be a corpus file and is not a regular file."""
    path = corpus.path(split)
    kind = irregular_kind(path) or ("a folder" if path.is_dir() else "a link to nowhere")
    expected = "a folder" if corpus.layout.folders else "a file"
    if corpus.layout.folders and path.is_file():
        kind = "a file"
    problem = Problem(path, 1, f"{kind}, where {expected} was expected")
    return FileReport(
        corpus.name,
        str(split),
        path,
        _layout_name(corpus),
        0,
        0,
        "",
        BlobStatus.UNKNOWN,
        (problem,),
        1,
        "",
    )


def _layout_name(corpus: Corpus) -> str:
    """Return the tag scheme, or the layout where there are no tags."""
    if corpus.entry is None or corpus.entry.layout is LayoutName.COLUMNS:
        return str(corpus.scheme)
    return str(corpus.entry.layout)


def _of_another_scheme(first: Problem, common: Scheme) -> Problem | None:
    """Return the first problem, restated as a wrong tag scheme if that explains all problems."""
    own = detect_file_scheme(first.path)
    if own == common or any(isinstance(found, Problem) for found in scan(first.path, own)):
        return None
    reason = f"the tags of this file are {own}, those of the corpus {common}; convert one of them"
    return Problem(first.path, first.line, f"{reason} ({first.reason})")


def known_file(corpus: Corpus, split: Split) -> CatalogueFile:
    """Return the catalogue's data on a corpus's file; None if the corpus is not in it."""
    return corpus.entry.file(split) if corpus.entry is not None else CatalogueFile(split)


def _blob_status(blob: str, known: CatalogueFile) -> BlobStatus:
    if known.blob is None:
        return BlobStatus.UNKNOWN
    if blob == known.repaired_blob:
        return BlobStatus.REPAIRED
    # A public file that needs the repair is not valid as it is.
    if blob == known.blob and known.repaired_blob is None:
        return BlobStatus.VERIFIED
    return BlobStatus.DIFFERS


def count_difference(known: CatalogueFile, sentences: int, mentions: int) -> str:
    """Return how the counts of a file differ from the published ones; empty if they do not."""
    parts = [
        f"{found:,} {what}, published {published:,}"
        for what, found, published in (
            ("sentences", sentences, known.sentences),
            ("mentions", mentions, known.mentions),
        )
        if published is not None and found != published
    ]
    return "; ".join(parts)


def report_json(reports: Sequence[CorpusReport]) -> dict[str, Any]:
    """Return the reports as JSON values: `{"corpora": {name: {...}}}`."""
    return {
        "corpora": {
            report.corpus: {
                "folder": report.folder,
                "licence": report.licence,
                "broken": report.broken,
                "trainable": report.trainable,
                **({"use": report.use} if report.use == Use.EVALUATE else {}),
                "note": report.note,
                "missing": list(report.missing),
                "warnings": [_problem_json(warning) for warning in report.warnings],
                "files": {file.split: _file_json(file) for file in report.files},
            }
            for report in reports
        }
    }


def _file_json(file: FileReport) -> dict[str, Any]:
    values = asdict(file)
    del values["corpus"], values["split"]
    problems = [_problem_json(problem) for problem in file.problems]
    return {**values, "path": str(file.path), "sound": file.sound, "problems": problems}


def _problem_json(problem: Problem) -> dict[str, Any]:
    return {"file": str(problem.path), "line": problem.line, "reason": problem.reason}
