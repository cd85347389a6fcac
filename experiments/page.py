"""The page of the experiment table: tables, plots and text, generated from the data."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments.choice import best_row, devel_rows
from experiments.contexts import CONTEXT_WAYS, context_lines, context_scores
from experiments.figures import (
    HEADS,
    JOINED,
    Row,
    Rows,
    f1,
    joined_singles,
    mean_of,
    score_at,
    signed,
    spread,
    table,
)
from experiments.page_ends import again_lines, all_rows_lines, not_run_lines, size_lines
from experiments.page_techniques import (
    adaptation_lines,
    augmentation_lines,
    balance_lines,
    in_short_lines,
    techniques_lines,
)
from experiments.plots import plot_bootstrap, plot_contexts, plot_systems
from schemas.errors import InputError, OutputError

PAGE, PLOTS = "experiments.md", "experiments"

SYSTEMS = (
    "baseline-dictionary",
    JOINED,
    "mtl-plain",
    "mtl-mlm",
    "mtl-best",
    "mtl-final",
    "mtl-final-augment",
    "mtl-short-direct",
    "mtl-short-teacher",
    "mtl-short",
)
_DRAWN = ("baseline-dictionary", JOINED, "mtl-plain", "mtl-best", "mtl-final", "mtl-short")


def write_page(data: Mapping[str, Any], folder: Path) -> Path:
    """Write the page and its plots into `folder`; return the page's path.

    :raises InputError: if no cell of the table was run.
    :raises OutputError: if a file cannot be written.
    """
    rows = {row["name"]: row for row in data["rows"]}
    if not any(row["status"] == "run" for row in rows.values()):
        raise InputError("no cell of the table was run; there is nothing to make a page of")
    singles = joined_singles(rows)
    everything = {**rows, **({JOINED: singles} if singles else {})}
    run = {name: row for name, row in everything.items() if row["status"] == "run"}
    plots = folder / PLOTS
    try:
        plots.mkdir(parents=True, exist_ok=True)
        sections: tuple[Callable[[], list[str]], ...] = (
            lambda: _opening(data),
            lambda: in_short_lines(data, run),
            lambda: _systems(data, everything, plots),
            lambda: _bootstrap(data, plots),
            lambda: balance_lines(run, plots),
            lambda: techniques_lines(run, plots),
            lambda: augmentation_lines(run),
            lambda: adaptation_lines(data, run),
            lambda: _contexts(run, plots),
            lambda: size_lines(data),
            lambda: not_run_lines(data),
            lambda: all_rows_lines(data),
            lambda: again_lines(data),
        )
        lines = [line for section in sections for line in section()]
        (folder / PAGE).write_text("\n".join(lines).rstrip() + "\n", "utf-8")
    except OSError as error:
        raise OutputError(f"cannot write the page into {folder}: {error}") from error
    return folder / PAGE


def _opening(data: Mapping[str, Any]) -> list[str]:
    rows = [row for row in data["rows"] if row["status"] == "run"]
    deviations = ", ".join(f"{HEADS[head]} {spread(rows, head):.1f}" for head in HEADS)
    seeds = sorted({len(row["seeds"]) for row in rows})
    devices = sorted({row["device"] for row in rows})
    best = best_row(devel_rows(data["rows"]))
    return [
        "# Training experiments",
        "",
        "Made by `make experiments-page` from [experiments.json](experiments.json); do not edit.",
        "",
        "What each way of training gives. A **row** is one way; it was trained with "
        f"{seeds[0]} to {seeds[-1]} seeds ({', '.join(devices)}), and scored by strict entity F1: "
        "a mention counts where its start, end and type are all right. Scores are in points, 0 to "
        "100. The encoder is MiniLM, 6 layers of width 384; rows named `stl-…` have one head, rows "
        "named `mtl-…` and `augment-…` have a head for each of their corpora. Where nothing else "
        "is said, each sentence is read alone.",
        "",
        "**How to read a score.** 85.4 ± 0.4 is the mean of the runs and their standard deviation; "
        "where no ± stands, there was one run. The same recipe with another seed moves the devel "
        f"score by about this much (standard deviation, pooled over all rows): {deviations}. With "
        "two or three runs a row, a difference between two rows that is smaller than about "
        "twice that is not to be told from luck, and among so many rows one or two will pass that "
        "bar by luck as well.",
        "",
        "**Devel and test.** Rows are compared, and one is chosen, on devel alone. Test scores are "
        "in columns of their own; they were read from finished models, and what chooses gets "
        "records that have no place for them. "
        + (
            f"Best on devel, by the mean of the four heads: `{best.name}` ({100 * best.mean:.1f})."
            if best
            else "No row has all four heads, so none is chosen."
        ),
        "",
        "**Seconds** are a run's training alone, without its teachers' and without adapting its "
        "encoder. Several runs shared the GPU, so a run by itself is faster; between rows they "
        "tell the relative cost.",
        "",
    ]


def _systems(data: Mapping[str, Any], everything: Rows, plots: Path) -> list[str]:
    rows = [everything[name] for name in SYSTEMS if name in everything]
    drawn = [row for row in rows if row["status"] == "run" and row["name"] in _DRAWN]
    strict = {one["name"]: one["f1"] for one in data["references"] if one["scale"] == "strict"}
    published: Mapping[str, float] = next(iter(strict.values()), {})
    points = {head: 100 * published[head] for head in HEADS if head in published}
    picture = []
    if drawn:
        plot_systems(drawn, points, plots / "systems.svg")
        picture = [
            "![F1 of each system by head](experiments/systems.svg)",
            "",
            "(What lies below the axis stands at its foot, with its number.)",
            "",
        ]
    columns = ["row", "runs", *_WITH_TYPES, "mean of heads", "seconds"]
    lines = [
        "## Baseline, single-task, multi-task",
        "",
        "The dictionary knows what the training split mentions. `stl-…` is one model a corpus (the "
        "seconds are those of all four); it goes through NCBI and BC5CDR 14 times, through BC2GM "
        "and JNLPBA 8 times, where `mtl-plain` goes 6 times through everything. `mtl-best` puts "
        "together what is described below: the adapted encoder, sampling by the square root, "
        "averaged weights.",
        "",
        *picture,
        "Devel:",
        "",
        *table(columns, [_system(row, "devel") for row in rows], 1),
        "Test:",
        "",
        *table(
            columns,
            [
                *(_system(row, "test") for row in rows),
                *(_published(name, values) for name, values in strict.items()),
            ],
            1,
        ),
    ]
    lines += [f"- {one['name']}: {one['note']}" for one in data["references"] if one["note"]]
    lines += ["", *_tokens(data, [row for row in rows if row["status"] == "run"])]
    return lines


_WITH_TYPES = ("NCBI", "BC5CDR", "chemical", "disease", "BC2GM", "JNLPBA")


def _system(row: Row, block: str) -> list[object]:
    if row["status"] != "run":
        return [row["name"], "not run", *[None] * (len(_WITH_TYPES) + 2)]
    mean = mean_of([f1(row, block, head) for head in HEADS])
    return [
        row["name"],
        len(row["seeds"]),
        f1(row, block, "ncbi-disease"),
        f1(row, block, "bc5cdr"),
        f1(row, block, "bc5cdr", "Chemical"),
        f1(row, block, "bc5cdr", "Disease"),
        f1(row, block, "bc2gm"),
        f1(row, block, "jnlpba"),
        mean,
        f"{row['seconds']:.0f}",
    ]


def _published(name: str, values: Mapping[str, float]) -> list[object]:
    keys = ("ncbi-disease", "bc5cdr", "bc5cdr/Chemical", "bc5cdr/Disease", "bc2gm", "jnlpba")
    shown = [100 * values[key] if key in values else None for key in keys]
    return [f"{name}, published", None, *shown, None, None]


def _tokens(data: Mapping[str, Any], rows: Sequence[Row]) -> list[str]:
    """Return the table of the token-level scores, which are on another, kinder scale."""
    columns = [
        "row",
        *(f"{name}, {block}" for block in ("devel", "test") for name in HEADS.values()),
    ]
    body: list[list[object]] = [
        [
            row["name"],
            *(
                f"{found.mean / 100:.3f}"
                if (found := score_at(row, block, "sentence", head, "token_weighted_f1"))
                else None
                for block in ("devel", "test")
                for head in HEADS
            ),
        ]
        for row in rows
    ]
    reported = [one for one in data["references"] if one["scale"] == "token"]
    for one in reported:
        known = [f"{one['f1'][head]:.2f}" if head in one["f1"] else None for head in HEADS]
        body.append([one["name"], *[None] * len(HEADS), *known])
    return [
        "The F1 of each pre-token's label, weighted by how often a label occurs (0 to 1). Most "
        "pre-tokens lie outside every mention, so this scale is near 1 for any system; it is here "
        "since scores on it were once reported.",
        "",
        *table(columns, body),
    ]


def _bootstrap(data: Mapping[str, Any], plots: Path) -> list[str]:
    compared = data["bootstrap"]
    if not compared:
        return []
    plot_bootstrap(compared, plots / "bootstrap.svg")
    body = [
        [
            one["first"],
            HEADS[one["corpus"]],
            len(one["seeds"]),
            100 * one["first_f1"],
            100 * one["second_f1"],
            signed(100 * one["difference"]),
            f"{signed(100 * one['low'])} to {signed(100 * one['high'])}",
            f"{one['p_one_sided']:.4f}",
        ]
        for one in compared
    ]
    return [
        "## Single-task against multi-task",
        "",
        "Paired bootstrap over the test sentences "
        f"({compared[0]['resamples']:,} resamples, seeded). Of the seeds that both have, each "
        "sentence's counts are added up. The interval is where the difference lies in 95 % of the "
        "resamples; p is one-sided. It says what other sentences would change, not what other "
        "seeds would.",
        "",
        "![Differences between multi-task and single-task models](experiments/bootstrap.svg)",
        "",
        *table(
            ["row", "corpus", "runs", "its F1", "single-task F1", "difference", "95 %", "p"],
            body,
            2,
        ),
    ]


def _contexts(run: Rows, plots: Path) -> list[str]:
    rows = [row for row in run.values() if context_scores(row, "ncbi-disease")]
    order = {name: number for number, name in enumerate(SYSTEMS)}
    rows.sort(key=lambda row: (order.get(row["name"], len(order)), row["name"]))
    if not rows:
        return []
    ways = {head: {row["name"]: context_scores(row, head) for row in rows} for head in CONTEXT_WAYS}
    neural = [row for row in rows if not row["name"].startswith("baseline")]
    plot_contexts(neural, ways, plots / "contexts.svg")
    return context_lines(rows, ways)
