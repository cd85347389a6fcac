"""The report of an evaluation: scores as records, JSON values and tables."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from training.evaluation.calibration import Bin, bins_error
from worker.cli.command import print_table

if TYPE_CHECKING:
    from rich.console import Console


@dataclass(frozen=True, slots=True)
class Score:
    """Precision, recall and F1, each from 0 to 1; 0 if undefined."""

    precision: float
    recall: float
    f1: float


@dataclass(frozen=True, slots=True)
class TypeScore:
    """The score of one label; `support` is the number of its gold mentions."""

    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True, slots=True)
class StrictScore:
    """Strict entity scores: over all mentions (micro-averaged), and by label."""

    overall: Score
    by_type: Mapping[str, TypeScore]


@dataclass(frozen=True, slots=True)
class HeadReport:
    """The scores of one head on one corpus split.

    `token_weighted_f1` is the F1 of each IOBES tag, `O` included, averaged by the tags' gold
    counts. `off_boundary` counts predicted mentions that start or end within a word. `bins` are the
    calibration bins of the predicted mentions, empty without scores.
    """

    strict: StrictScore
    token_weighted_f1: float
    sentences: int
    mentions: int
    off_boundary: int
    bins: tuple[Bin, ...] = ()

    @property
    def ece(self) -> float:
        """The expected calibration error of the predicted mentions."""
        return bins_error(self.bins)


@dataclass(frozen=True, slots=True)
class DocumentReport:
    """The end-to-end scores of one head on raw documents, by character offsets.

    `overlapping` counts gold mentions that overlap another: of each such group a head can predict
    one.
    """

    head: str
    strict: StrictScore
    documents: int
    mentions: int
    overlapping: int


@dataclass(frozen=True, slots=True)
class EvaluationReport:
    """All scores of a checkpoint: `heads` by head name, `documents` by file name."""

    checkpoint: str
    split: str
    context: str
    heads: Mapping[str, HeadReport]
    documents: Mapping[str, DocumentReport]


def report_json(report: EvaluationReport) -> dict[str, object]:
    """Return the report as JSON values."""
    return {
        "checkpoint": report.checkpoint,
        "split": report.split,
        "context": report.context,
        "heads": {
            name: {
                **_strict_json(head.strict),
                "token_weighted_f1": head.token_weighted_f1,
                "sentences": head.sentences,
                "mentions": head.mentions,
                "off_boundary": head.off_boundary,
                "ece": head.ece,
                "reliability": [
                    {"count": one.count, "confidence": one.confidence, "precision": one.precision}
                    for one in head.bins
                ],
            }
            for name, head in report.heads.items()
        },
        "documents": {
            name: {
                "head": found.head,
                **_strict_json(found.strict),
                "documents": found.documents,
                "mentions": found.mentions,
                "overlapping": found.overlapping,
            }
            for name, found in report.documents.items()
        },
    }


def _strict_json(score: StrictScore) -> dict[str, object]:
    return {
        "strict": {
            "precision": score.overall.precision,
            "recall": score.overall.recall,
            "f1": score.overall.f1,
        },
        "by_type": {
            label: {
                "precision": found.precision,
                "recall": found.recall,
                "f1": found.f1,
                "support": found.support,
            }
            for label, found in score.by_type.items()
        },
    }


def print_report(report: EvaluationReport, console: "Console") -> None:
    """Print the scores, in per cent, as one table for corpora and one for documents."""
    if report.heads:
        print_table(
            console,
            [
                row
                for name, head in report.heads.items()
                for row in _rows(
                    name,
                    head.strict,
                    head.mentions,
                    _percent(head.token_weighted_f1),
                    f"{head.ece:.3f}",
                )
            ],
            columns=(
                "head",
                "label",
                "precision",
                "recall",
                "F1",
                "mentions",
                "token F1",
                "ECE (0-1)",
            ),
            title=f"Strict entity scores on {report.split}, in per cent, and ECE from 0 to 1 "
            f"({report.context} context)",
            right=range(2, 8),
        )
    if report.documents:
        print_table(
            console,
            [
                row
                for name, found in report.documents.items()
                for row in _rows(f"{found.head} on {name}", found.strict, found.mentions)
            ],
            columns=("head and file", "label", "precision", "recall", "F1", "mentions"),
            title="End to end on raw documents, in per cent",
            right=range(2, 6),
        )


def _rows(name: str, strict: StrictScore, mentions: int, *more: str) -> list[Sequence[str]]:
    overall = strict.overall
    rows: list[Sequence[str]] = [
        (
            name,
            "all",
            _percent(overall.precision),
            _percent(overall.recall),
            _percent(overall.f1),
            f"{mentions:,}",
            *more,
        )
    ]
    if len(strict.by_type) > 1:
        rows += [
            (
                "",
                label,
                _percent(score.precision),
                _percent(score.recall),
                _percent(score.f1),
                f"{score.support:,}",
                *("" for _ in more),
            )
            for label, score in strict.by_type.items()
        ]
    return rows


def _percent(value: float) -> str:
    return f"{100 * value:.2f}"
