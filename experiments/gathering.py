"""Gathering of runs into one table: the mean and deviation of each cell over its seeds.

The table is stored as `docs/experiments.json`, deterministic to the byte. A row's test scores are
its last block; they are not passed to the selection of the best row (`experiments.choice`).
"""

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.cells import CELLS, ENCODERS, PAIR_PLAIN, PLAIN, SMALL, Cell
from experiments.comparing import compare_runs
from schemas.errors import InputError, OutputError

FORMAT_VERSION = 1
Json = dict[str, Any]

_NOT_A_CHANGE = ("name", "seed")


@dataclass(frozen=True, slots=True)
class Run:
    """A finished run: its result, its test scores, and the folder of its files."""

    seed: int
    result: Json
    test: Json
    folder: Path


def read_runs(folder: Path) -> dict[str, list[Run]]:
    """Read all finished runs under `folder`, by cell and in order of their seeds.

    :raises InputError: if a result is there that cannot be read.
    """
    runs: dict[str, list[Run]] = {}
    for path in sorted(folder.glob("*/seed*/result.json")):
        result = _read(path)
        run = Run(int(result["seed"]), result, _read(path.with_name("test.json")), path.parent)
        runs.setdefault(path.parent.parent.name, []).append(run)
    return {name: sorted(found, key=lambda run: run.seed) for name, found in runs.items()}


def gather(
    folder: Path, *, cells: Sequence[Cell] = CELLS, earlier: Mapping[str, Any] | None = None
) -> Json:
    """Return the table of the runs under `folder`: one row per cell, sorted by name.

    Cells without runs get a row marked as not run. Rows of former cells are kept from `earlier`, an
    earlier table, as are its `references` and `sizes`, which do not come from runs.

    :raises InputError: if a result is there that cannot be read.
    """
    runs = read_runs(folder)
    before = {row["name"]: row for row in (earlier or {}).get("rows", ())}
    rows = [_row(_described(cell), runs.get(cell.name, [])) for cell in cells]
    live = {cell.name for cell in cells}
    for name in sorted((before.keys() | runs.keys()) - live):
        found = runs.get(name, [])
        about = _about(before[name]) if name in before else _guessed(name, found[0].result)
        about["retired"] = True
        rows.append(_row(about, found) if found else {**before[name], "retired": True})
    counts = {name: [(run.seed, run.folder / "test.npz") for run in runs[name]] for name in runs}
    return {
        "format_version": FORMAT_VERSION,
        "notes": list(NOTES),
        "references": (earlier or {}).get("references", []),
        "sizes": (earlier or {}).get("sizes", []),
        "encoders": _encoders(folder) or (earlier or {}).get("encoders", []),
        "rows": sorted(rows, key=lambda row: str(row["name"])),
        "bootstrap": compare_runs(counts),
    }


NOTES = (
    "Scores are shares from 0 to 1: strict entity precision, recall and F1 (start, end and label "
    "must all be right), and the F1 of pre-tokens' labels weighted by support.",
    "`std` is the sample standard deviation over seeds; null where there is one run.",
    "`seconds` is training alone, without scoring. Several runs shared the device, so a run alone "
    "is faster.",
    "`test` was read once, from the finished models; nothing was chosen by it.",
)


def read_table(path: Path) -> Json:
    """Read a table that `write_table` wrote.

    :raises InputError: if there is none, or its layout is another.
    """
    table = _read(path)
    if table.get("format_version") != FORMAT_VERSION:
        raise InputError(
            f"{str(path)!r} is no table of experiments in layout {FORMAT_VERSION}; write it again "
            "with `python -m experiments --gather`"
        )
    return table


def write_table(table: Mapping[str, Any], path: Path) -> None:
    """Write a table as JSON, a row's test scores last.

    :raises OutputError: if it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(table, indent=1, ensure_ascii=False) + "\n", "utf-8")
    except OSError as error:
        raise OutputError(f"cannot write {str(path)!r}: {error.strerror or error}") from error


def summarise(trees: Sequence[Mapping[str, Any]]) -> Json:
    """Combine the runs' trees of numbers into one: each number as its mean and deviation.

    `support` is equal in all runs, and is kept. Values that some run lacks are omitted.
    """
    out: Json = {}
    for key, value in trees[0].items():
        if key == "support":
            out[key] = value
        elif all(key in tree for tree in trees):
            values = [tree[key] for tree in trees]
            out[key] = summarise(values) if isinstance(value, Mapping) else _mean(values)
    return out


def _mean(values: Sequence[float]) -> Json:
    return {
        "mean": round(statistics.fmean(values), 5),
        "std": round(statistics.stdev(values), 5) if len(values) > 1 else None,
    }


def _described(cell: Cell) -> Json:
    return {
        "name": cell.name,
        "shows": cell.shows,
        "corpora": list(cell.corpora),
        "changes": dict(sorted(cell.changes.items())),
        "encoder": "none" if cell.dictionary else cell.encoder,
        "teachers": list(cell.teachers),
        "texts": cell.texts,
        "against": cell.against,
        "retired": False,
    }


def _about(row: Mapping[str, Any]) -> Json:
    """Return the description of a cell in an earlier row."""
    return {key: row[key] for key in _described(CELLS[0])}


def _guessed(name: str, result: Mapping[str, Any]) -> Json:
    """Return a description of a former cell, derived from a run."""
    plain = PLAIN.values()
    changes = {
        key: value
        for key, value in result["recipe"].items()
        if key not in _NOT_A_CHANGE and value is not None and value != plain.get(key, 0.0)
    }
    small = tuple(result["corpora"]) == SMALL
    return {
        "name": name,
        "shows": ", ".join(f"{key} {value}" for key, value in sorted(changes.items())),
        "corpora": list(result["corpora"]),
        "changes": dict(sorted(changes.items())),
        "encoder": result["encoder"],
        "teachers": sorted({teacher.partition("/")[0] for teacher in result["teachers"]}),
        "texts": bool(result["texts"]),
        "against": PAIR_PLAIN if small else "",
        "retired": True,
    }


def _row(about: Mapping[str, Any], runs: Sequence[Run]) -> Json:
    if not runs:
        return {**about, "status": "not run", "seeds": []}
    results = [run.result for run in runs]
    row = {
        **about,
        "status": "run",
        "seeds": [run.seed for run in runs],
        "device": ", ".join(sorted({result["device"] for result in results})),
        "seconds": round(statistics.fmean(result["seconds"] for result in results), 1),
        "devel": summarise([result["devel"] for result in results]),
    }
    if all("documents" in result for result in results):
        row["documents"] = summarise([result["documents"] for result in results])
    return {**row, "test": summarise([run.test for run in runs])}


def _encoders(folder: Path) -> list[Json]:
    """Return the training figures of the existing adapted encoders."""
    out = []
    for name, recipe in sorted(ENCODERS.items()):
        path = folder / name / "pretraining.json"
        if path.is_file():
            values = _read(path)
            last = values["held_out"][-1]
            out.append(
                {
                    "name": name,
                    "epochs": recipe.epochs,
                    "steps": values["steps"],
                    "pieces": values["text"]["pieces"],
                    "batch_pieces": recipe.batch_pieces,
                    "learning_rate": recipe.learning_rate,
                    "held_out_loss": round(last["loss"], 4),
                    "held_out_accuracy": round(last["accuracy"], 4),
                    "seconds": round(values["seconds"], 1),
                }
            )
    return out


def _read(path: Path) -> Json:
    try:
        values = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{str(path)!r} cannot be read: {error}") from error
    if not isinstance(values, dict):
        raise InputError(f"{str(path)!r} holds no JSON object")
    return values
