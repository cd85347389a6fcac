"""Selection of the best cell by devel scores, from records that cannot hold test scores."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from experiments.cells import CORPORA


@dataclass(frozen=True, slots=True)
class DevelRow:
    """The basis of selection: a cell's name, number of runs, and mean devel F1 of each head."""

    name: str
    runs: int
    f1: Mapping[str, float]

    @property
    def mean(self) -> float:
        """The unweighted mean F1 of the heads, from 0 to 1."""
        return sum(self.f1.values()) / len(self.f1)


def devel_rows(rows: Iterable[Mapping[str, Any]]) -> list[DevelRow]:
    """Return the devel scores of the rows of a table that have runs."""
    return [
        DevelRow(
            row["name"],
            len(row["seeds"]),
            {head: values["f1"]["mean"] for head, values in row["devel"]["sentence"].items()},
        )
        for row in rows
        if row["status"] == "run"
    ]


def best_row(rows: Sequence[DevelRow], heads: Sequence[str] = CORPORA) -> DevelRow | None:
    """Return the row with the highest mean devel F1 among those with exactly these heads.

    At a tie the first by name. None if there is no such row.
    """
    fitting = [row for row in rows if set(row.f1) == set(heads)]
    return min(fitting, key=lambda row: (-row.mean, row.name), default=None)
