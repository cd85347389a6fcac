"""The report of an evaluation: scores as records, JSON values and tables."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

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


def report_json(report: EvaluationReport) -> dict[str, Any]:
    """Return the report as JSON values."""
    return {
        **asdict(report),
        "heads": {name: _head_json(head) for name, head in report.heads.items()},
        "documents": {
            name: {"head": found.head, **_flat(asdict(found))}
            for name, found in report.documents.items()
        },
    }


def _head_json(head: HeadReport) -> dict[str, Any]:
    values = _flat(asdict(head))
    values["ece"], values["reliability"] = head.ece, values.pop("bins")
    return values


def _flat(values: dict[str, Any]) -> dict[str, Any]:
    """Return a report's values with the strict scores of labels beside those over all mentions."""
    strict = values.pop("strict")
    return {"strict": strict["overall"], "by_type": strict["by_type"], **values}


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
    rows: list[Sequence[str]] = [(name, "all", *_scores(overall), f"{mentions:,}", *more)]
    if len(strict.by_type) > 1:
        rows += [
            ("", label, *_scores(score), f"{score.support:,}", *("" for _ in more))
            for label, score in strict.by_type.items()
        ]
    return rows


def _scores(score: Score | TypeScore) -> tuple[str, str, str]:
    return _percent(score.precision), _percent(score.recall), _percent(score.f1)


def _percent(value: float) -> str:
    return f"{100 * value:.2f}"
