"""The page's last sections: cost of BERT-base, cells not run, all rows, and reproduction."""

import json
from collections.abc import Mapping
from typing import Any

from experiments.figures import HEADS, score_at, table


def size_lines(data: Mapping[str, Any]) -> list[str]:
    """Return the section on the training cost of other encoder sizes, if measured."""
    if not data["sizes"]:
        return []
    return [
        "## What BERT-base costs",
        "",
        "The recipe `reference` at the size of BERT-base (110 million parameters). The weights "
        "were **random**: time and memory do not depend on them, so there is no score to this.",
        "",
        *table(
            ["corpus", "device", "precision", "batch", "steps an epoch", "ms a step",
             "s an epoch", "peak GPU memory, MiB"],
            [
                [
                    HEADS.get(one["corpus"], one["corpus"]),
                    one["device"],
                    one["precision"],
                    one["batch"],
                    f"{one['steps_an_epoch']:,}",
                    one["milliseconds_a_step"],
                    one["seconds_an_epoch"],
                    f"{one['peak_mib']:,}",
                ]
                for one in data["sizes"]
            ],
        ),
        *(f"- {note}" for note in dict.fromkeys(one["note"] for one in data["sizes"]) if note),
        "",
    ]  # fmt: skip


def not_run_lines(data: Mapping[str, Any]) -> list[str]:
    """Return the list of cells without a run."""
    missing = [row for row in data["rows"] if row["status"] != "run"]
    if not missing:
        return ["## Not run", "", "Every cell was run.", ""]
    return [
        "## Not run",
        "",
        "These cells are defined, and were not run; nothing is claimed of them.",
        "",
        *table(["row", "what it would show"], [[r["name"], r["shows"]] for r in missing], 2),
    ]


def all_rows_lines(data: Mapping[str, Any]) -> list[str]:
    """Return the tables of strict precision, recall and F1 of every row by head and type."""
    columns = ["row", "head", "devel P", "devel R", "devel F1", "test P", "test R", "test F1"]
    body = []
    for row in data["rows"]:
        if row["status"] != "run":
            continue
        for head in row["corpora"]:
            labels = row["devel"]["sentence"][head]["by_type"] if head == "bc5cdr" else {}
            for label in ("", *labels):
                path = ("by_type", label) if label else ()
                cells = [
                    score_at(row, block, "sentence", head, *path, number)
                    for block in ("devel", "test")
                    for number in ("precision", "recall", "f1")
                ]
                body.append([row["name"], f"{HEADS[head]} {label.lower()}".strip(), *cells])
    changes = [
        [
            row["name"],
            row["shows"] + (" (taken out again)" if row["retired"] else ""),
            row["encoder"],
            ", ".join(f"{key} {json.dumps(value)}" for key, value in row["changes"].items())
            or None,
            ", ".join(row["teachers"]) or None,
            ", ".join(map(str, row["seeds"])) or "not run",
            f"{row['seconds']:.0f}" if row["status"] == "run" else None,
        ]
        for row in data["rows"]
    ]
    return [
        "## All rows",
        "",
        "What each row is; the changes are against the recipe in `experiments/cells.py`.",
        "",
        *table(
            ["row", "what", "encoder", "changes", "teachers", "seeds", "seconds"],
            changes,
            6,
        ),
        "Strict precision, recall and F1 on single sentences:",
        "",
        *table(columns, body, 2),
    ]


def again_lines(data: Mapping[str, Any]) -> list[str]:
    """Return the section on how to reproduce the results, and their cost."""
    run = [row for row in data["rows"] if row["status"] == "run"]
    runs = sum(len(row["seeds"]) for row in run)
    minutes = sum(row["seconds"] * len(row["seeds"]) for row in run) / 60
    return [
        "## Running it again",
        "",
        "    make experiments",
        "",
        "runs every cell with three seeds into `out/experiments`, then writes `experiments.json` "
        "and this page. It goes on where it was broken off; a cell that is done is not done again. "
        f"Training the {runs} runs here took {minutes:.0f} minutes added up. Several cells at once "
        "fill a GPU better: `make experiments EXPERIMENTS='--workers 8 --threads 1'`. On two CPU "
        "cores all of it takes a day or more; name the cells that matter, each with as many seeds "
        "as wanted: `make experiments EXPERIMENTS='--cell stl-ncbi-disease@3,mtl-pair-ema@1'`. "
        "Cells without a result are then told as not run.",
        "",
        "    make experiments-page",
        "",
        "writes this page and its plots from `experiments.json` alone; the same data give the "
        "same bytes.",
    ]
