"""The figures of the page: F1 in points, standard deviations and differences."""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from experiments.cells import CORPORA

Row = Mapping[str, Any]
Rows = Mapping[str, Row]

HEADS = {"ncbi-disease": "NCBI", "bc5cdr": "BC5CDR", "bc2gm": "BC2GM", "jnlpba": "JNLPBA"}
"""The heads' short names, in the order of the page's columns."""

BLANK = "–"
JOINED = "stl-…"
"""The name of the row that combines the single-task models."""


@dataclass(frozen=True, slots=True)
class Score:
    """The mean of a cell's runs in points (0 to 100), and their sample standard deviation."""

    mean: float
    std: float | None
    runs: int

    def __str__(self) -> str:
        return f"{self.mean:.1f}" + ("" if self.std is None else f" ± {self.std:.1f}")


@dataclass(frozen=True, slots=True)
class Difference:
    """The difference of two means in points; `std` is the standard deviation of the difference."""

    mean: float
    std: float | None

    def __str__(self) -> str:
        return signed(self.mean) + ("" if self.std is None else f" ± {self.std:.2f}")


def score_at(row: Row, *path: str) -> Score | None:
    """Return the value in a row at `path`, such as devel, sentence, bc5cdr, f1, or None.

    A path may end at a number's `mean` and `std`; labels are under `by_type`.
    """
    value: Any = row
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    if not isinstance(value, Mapping) or "mean" not in value:
        return None
    std = value["std"]
    return Score(100 * value["mean"], None if std is None else 100 * std, len(row["seeds"]))


def f1(row: Row, block: str, head: str, label: str = "") -> Score | None:
    """Return a head's strict F1 on single sentences, for one label if given."""
    by_label = ("by_type", label, "f1") if label else ("f1",)
    return score_at(row, block, "sentence", head, *by_label)


CONTEXT_WAYS = {
    "ncbi-disease": ("sentence", "window", "document"),
    "bc5cdr": ("sentence", "window", "document"),
    "bc2gm": ("sentence", "window"),
    "jnlpba": ("sentence", "window"),
}
"""The contexts by head; two corpora have whole documents with gold mentions."""


def context_scores(row: Row, head: str) -> dict[str, Score]:
    """Return a row's devel F1 by context; empty if windows were not scored."""
    paths: dict[str, tuple[str, ...]] = {
        way: ("devel", way, head, "f1") for way in ("sentence", "window")
    }
    paths["document"] = ("documents", head, "f1")
    found = {way: score_at(row, *paths[way]) for way in CONTEXT_WAYS[head]}
    known = {way: score for way, score in found.items() if score is not None}
    return known if "window" in known else {}


def difference(ours: Score | None, theirs: Score | None) -> Difference | None:
    """Return `ours` minus `theirs`; the variances of the means are added."""
    if ours is None or theirs is None:
        return None
    std = None
    if ours.std is not None and theirs.std is not None:
        std = math.sqrt(ours.std**2 / ours.runs + theirs.std**2 / theirs.runs)
    return Difference(ours.mean - theirs.mean, std)


def spread(rows: Iterable[Row], head: str) -> float:
    """Return the standard deviation over runs of a cell, pooled over cells, in points of F1.

    Two or three runs per cell are too few for an estimate without pooling.
    """
    found = [score for row in rows if (score := f1(row, "devel", head)) and score.std is not None]
    freedom = sum(score.runs - 1 for score in found)
    squares = sum((score.std or 0.0) ** 2 * (score.runs - 1) for score in found)
    return math.sqrt(squares / freedom) if freedom else 0.0


def noise(row: Row, base: Row, deviation: float) -> float:
    """Return twice the standard deviation of the difference of two cells' means, in points."""
    return 2 * deviation * math.sqrt(1 / len(row["seeds"]) + 1 / len(base["seeds"]))


def mean_of(scores: Sequence[Score | None]) -> float | None:
    """Return the plain mean of scores; None if one is missing."""
    known = [score.mean for score in scores if score is not None]
    return statistics.fmean(known) if known and len(known) == len(scores) else None


def joined_singles(rows: Rows) -> Row | None:
    """Return one row that combines the single-task models; None if one was not run."""
    singles = [rows.get(f"stl-{corpus}") for corpus in CORPORA]
    found = [row for row in singles if row is not None and row["status"] == "run"]
    if len(found) < len(CORPORA):
        return None
    return {
        "name": JOINED,
        "shows": "one model a corpus",
        "corpora": list(CORPORA),
        "status": "run",
        "seeds": found[0]["seeds"],
        "seconds": sum(row["seconds"] for row in found),
        **{
            block: {
                "sentence": {
                    name: row[block]["sentence"][name]
                    for name, row in zip(CORPORA, found, strict=True)
                }
            }
            for block in ("devel", "test")
        },
    }


def signed(value: float, digits: int = 2) -> str:
    """Return a difference with its sign, with a true minus sign."""
    shown = f"{value:+.{digits}f}" if abs(value) >= 0.5 * 0.1**digits else f"{0:.{digits}f}"
    return shown.replace("-", "−")


def text(value: object) -> str:
    """Return a table cell as text; a dash for None."""
    return BLANK if value is None else f"{value:.1f}" if isinstance(value, float) else str(value)


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], text_columns: int = 1) -> str:
    """Return a Markdown table, right-aligned after the first `text_columns`."""
    marks = ["---"] * text_columns + ["---:"] * (len(columns) - text_columns)
    lines = [f"| {' | '.join(columns)} |", f"|{'|'.join(marks)}|"]
    lines += [f"| {' | '.join(text(value) for value in row)} |" for row in rows]
    return "\n".join(lines)
