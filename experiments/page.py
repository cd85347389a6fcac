"""The page of the experiment table: a template, filled with tables and plots of the data."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from experiments.cells import MTL_PLAIN, PAIR_PLAIN, SMALL
from experiments.choice import best_row, devel_rows
from experiments.figures import (
    CONTEXT_WAYS,
    HEADS,
    JOINED,
    Row,
    Rows,
    context_scores,
    difference,
    f1,
    joined_singles,
    mean_of,
    noise,
    score_at,
    signed,
    spread,
    table,
)
from experiments.plots import plot_bootstrap, plot_contexts, plot_differences, plot_systems
from schemas.errors import InputError, OutputError

PAGE, PLOTS = "experiments.md", "experiments"
BASELINE = "baseline-dictionary"
SYSTEMS = (BASELINE, JOINED, "mtl-plain", "mtl-mlm", "mtl-best", "mtl-final", "mtl-final-augment",
           "mtl-short-direct", "mtl-short-teacher", "mtl-short")  # fmt: skip
BLOCKS = ("devel", "test")
_DRAWN = (BASELINE, JOINED, "mtl-plain", "mtl-best", "mtl-final", "mtl-short")
_BALANCE = ("mtl-uniform", "mtl-temperature", "mtl-annealed", "mtl-uncertainty")
_SYSTEM_COLUMNS = ("row", "runs", "NCBI", "BC5CDR", "chemical", "disease", "BC2GM", "JNLPBA",
                   "mean of heads", "seconds")  # fmt: skip
_PARTS = (("ncbi-disease", ""), ("bc5cdr", ""), ("bc5cdr", "Chemical"), ("bc5cdr", "Disease"),
          ("bc2gm", ""), ("jnlpba", ""))  # fmt: skip


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
    environment = Environment(  # noqa: S701 (the page is Markdown)
        loader=PackageLoader("experiments"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.globals.update(table=table, spread=spread, gaps=_gaps)
    try:
        (folder / PLOTS).mkdir(parents=True, exist_ok=True)
        content = environment.get_template("experiments.md.j2").render(
            _content(data, everything, folder / PLOTS)
        )
        (folder / PAGE).write_text(content, "utf-8")
    except OSError as error:
        raise OutputError(f"cannot write the page into {folder}: {error}") from error
    return folder / PAGE


def _content(data: Mapping[str, Any], everything: Rows, plots: Path) -> dict[str, Any]:
    """Draw the plots, and return what the template shows."""
    run = {name: row for name, row in everything.items() if row["status"] == "run"}
    trained = [row for name, row in run.items() if name != JOINED]
    systems = [everything[name] for name in SYSTEMS if name in everything]
    pair = run.get(PAIR_PLAIN)
    of_pair = sorted(
        (row for row in trained if pair and row["against"] == PAIR_PLAIN),
        key=lambda row: (_augments(row), row["name"]),
    )
    balance = [run[name] for name in _BALANCE if name in run and MTL_PLAIN in run]
    best = best_row(devel_rows(data["rows"]))
    in_context = _rows_in_context(run)
    better, worse = _beyond_noise(run, trained)
    return {
        "data": data,
        "run": run,
        "trained": trained,
        "heads": HEADS,
        "small": {head: HEADS[head] for head in SMALL},
        "joined": JOINED,
        "best": best,
        "ends": _ends(run[best.name]) if best else [],
        "better": better,
        "worse": worse,
        "seeds": sorted({len(row["seeds"]) for row in trained}),
        "devices": sorted({row["device"] for row in trained}),
        "missing": [[r["name"], r["shows"]] for r in data["rows"] if r["status"] != "run"],
        "system_columns": _SYSTEM_COLUMNS,
        "systems": {block: list(_systems(data, systems, block)) for block in BLOCKS},
        "token_columns": ["row", *(f"{n}, {block}" for block in BLOCKS for n in HEADS.values())],
        "tokens": list(_tokens(data, [row for row in systems if row["status"] == "run"])),
        "compared": [_compared(one) for one in data["bootstrap"]],
        "pair": pair,
        "balance": balance,
        "techniques": [row for row in of_pair if not _augments(row)],
        "augmented": [row for row in run.values() if _augments(row)],
        "retired": [f"`{row['name']}`" for row in of_pair if row["retired"]],
        "differences": lambda rows, base, heads: _differences(rows, base, heads, trained),
        "adapted": _adapted(run),
        "encoders": [_encoder(one) for one in data["encoders"]],
        "context_columns": [
            "row",
            *(f"{HEADS[head]}, {way}" for head, each in CONTEXT_WAYS.items() for way in each),
            *(f"{HEADS[head]}, document − window" for head in SMALL),
        ],
        "contexts": [_in_context(row) for row in in_context],
        "sizes": [_size(one) for one in data["sizes"]],
        "described": [_described(row) for row in data["rows"]],
        "strict": [line for row in trained for line in _strict(row)],
        "runs": sum(len(row["seeds"]) for row in trained),
        "minutes": sum(row["seconds"] * len(row["seeds"]) for row in trained) / 60,
        "plots": _draw(data, plots, systems, balance, of_pair, in_context, run, trained),
    }


def _draw(
    data: Mapping[str, Any],
    plots: Path,
    systems: Sequence[Row],
    balance: Sequence[Row],
    of_pair: Sequence[Row],
    in_context: Sequence[Row],
    run: Rows,
    pool: Sequence[Row],
) -> set[str]:
    """Draw each plot that there are rows for; return their names."""
    drawn = [row for row in systems if row["status"] == "run" and row["name"] in _DRAWN]
    if drawn:
        published: Mapping[str, float] = next(iter(_references(data, "strict")), {}).get("f1", {})
        points = {head: 100 * published[head] for head in HEADS if head in published}
        plot_systems(drawn, points, plots / "systems.svg")
    if data["bootstrap"]:
        plot_bootstrap(data["bootstrap"], plots / "bootstrap.svg")
    if balance:
        plot_differences(balance, run[MTL_PLAIN], list(HEADS), plots / "balance.svg", pool=pool)
    if of_pair:
        plot_differences(of_pair, run[PAIR_PLAIN], list(SMALL), plots / "techniques.svg", pool=pool)
    if in_context:
        ways = {
            h: {row["name"]: context_scores(row, h) for row in in_context} for h in CONTEXT_WAYS
        }
        neural = [row for row in in_context if not row["name"].startswith("baseline")]
        plot_contexts(neural, ways, plots / "contexts.svg")
    return {
        name
        for name, rows in (
            ("systems", drawn),
            ("bootstrap", data["bootstrap"]),
            ("balance", balance),
            ("techniques", of_pair),
            ("contexts", in_context),
        )
        if rows
    }


def _augments(row: Row) -> bool:
    return bool(row["name"].startswith("augment-"))


def _references(data: Mapping[str, Any], scale: str) -> list[Mapping[str, Any]]:
    return [one for one in data["references"] if one["scale"] == scale]


def _gaps(row: Row, base: Row, block: str) -> str:
    """Return the differences of two rows by head as text."""
    return ", ".join(
        f"{name} {signed(gap.mean)}"
        for head, name in HEADS.items()
        if (gap := difference(f1(row, block, head), f1(base, block, head)))
    )


def _beyond_noise(run: Rows, trained: Sequence[Row]) -> tuple[list[str], list[str]]:
    """Return what is better and what is worse than its base row on devel, beyond noise."""
    better: list[str] = []
    worse: list[str] = []
    for row in trained:
        base = run.get(row["against"])
        for head, name in HEADS.items():
            gap = difference(f1(row, "devel", head), f1(base, "devel", head)) if base else None
            if base and gap and abs(gap.mean) > noise(row, base, spread(trained, head)):
                found = f"`{row['name']}` {name} {signed(gap.mean)}"
                (better if gap.mean > 0 else worse).append(found)
    return better, worse


def _ends(row: Row) -> list[tuple[object, ...]]:
    """Return the head, the end-to-end score and that of windows, for corpora with documents."""
    return [
        (HEADS[head], whole, window)
        for head in SMALL
        if (whole := score_at(row, "documents", head, "f1"))
        and (window := score_at(row, "devel", "window", head, "f1"))
    ]


def _systems(
    data: Mapping[str, Any], rows: Sequence[Row], block: str
) -> Iterable[Sequence[object]]:
    for row in rows:
        if row["status"] != "run":
            yield [row["name"], "not run", *[None] * (len(_PARTS) + 2)]
            continue
        scores = [f1(row, block, head, label) for head, label in _PARTS]
        mean = mean_of([f1(row, block, head) for head in HEADS])
        yield [row["name"], len(row["seeds"]), *scores, mean, f"{row['seconds']:.0f}"]
    for one in _references(data, "strict") if block == "test" else ():
        keys = ["/".join(filter(None, part)) for part in _PARTS]
        shown = [100 * one["f1"][key] if key in one["f1"] else None for key in keys]
        yield [f"{one['name']}, published", None, *shown, None, None]


def _tokens(data: Mapping[str, Any], rows: Sequence[Row]) -> Iterable[Sequence[object]]:
    """Yield the rows of token-level scores, which are on another, kinder scale."""
    for row in rows:
        found = [
            score_at(row, block, "sentence", head, "token_weighted_f1")
            for block in BLOCKS
            for head in HEADS
        ]
        yield [row["name"], *(None if one is None else f"{one.mean / 100:.3f}" for one in found)]
    for one in _references(data, "token"):
        known = [f"{one['f1'][head]:.2f}" if head in one["f1"] else None for head in HEADS]
        yield [one["name"], *[None] * len(HEADS), *known]


def _compared(one: Mapping[str, Any]) -> list[object]:
    return [
        one["first"],
        HEADS[one["corpus"]],
        len(one["seeds"]),
        100 * one["first_f1"],
        100 * one["second_f1"],
        signed(100 * one["difference"]),
        f"{signed(100 * one['low'])} to {signed(100 * one['high'])}",
        f"{one['p_one_sided']:.4f}",
    ]


def _differences(
    rows: Sequence[Row], base: Row, heads: Mapping[str, str], pool: Sequence[Row]
) -> str:
    """Return the table of the differences of rows from their base on devel."""
    deviations = {head: spread(pool, head) for head in heads}

    def cell(row: Row, head: str) -> str | None:
        found = difference(f1(row, "devel", head), f1(base, "devel", head))
        if found is None:
            return None
        beyond = abs(found.mean) > noise(row, base, deviations[head])
        return f"**{found}**" if beyond else str(found)

    scores = [f1(base, "devel", head) for head in heads]
    body = [[base["name"], base["shows"], len(base["seeds"]), *scores, "1.0"]]
    for row in rows:
        cost = f"{row['seconds'] / base['seconds']:.1f}" if base["seconds"] else None
        cells = [cell(row, head) for head in heads]
        body.append([row["name"], row["shows"], len(row["seeds"]), *cells, cost])
    return table(["row", "what", "runs", *heads.values(), "cost"], body, 2)


def _adapted(run: Rows) -> list[list[object]]:
    """Return the scores with and without adapting the encoder, and their differences."""
    if "mtl-mlm" not in run or MTL_PLAIN not in run:
        return []
    out: list[list[object]] = [
        [f"{block}, {name}", *(f1(run[name], block, head) for head in HEADS)]
        for block in BLOCKS
        for name in (MTL_PLAIN, "mtl-mlm")
    ]
    for block in BLOCKS:
        pairs = [(f1(run["mtl-mlm"], block, h), f1(run[MTL_PLAIN], block, h)) for h in HEADS]
        out.append([f"{block}, difference", *(difference(*pair) for pair in pairs)])
    return out


def _encoder(one: Mapping[str, Any]) -> list[object]:
    return [
        one["name"],
        one["epochs"],
        f"{one['steps']:,}",
        f"{one['pieces']:,}",
        f"{one['held_out_loss']:.2f}",
        f"{100 * one['held_out_accuracy']:.0f} %",
        f"{one['seconds']:.0f}",
    ]


def _rows_in_context(run: Rows) -> list[Row]:
    order = {name: number for number, name in enumerate(SYSTEMS)}
    rows = [row for row in run.values() if context_scores(row, "ncbi-disease")]
    return sorted(rows, key=lambda row: (order.get(row["name"], len(order)), row["name"]))


def _in_context(row: Row) -> list[object]:
    """Return a row's scores by context, and the differences of documents and windows.

    These are of the same runs, so that no deviation of the difference is known.
    """
    scores = {head: context_scores(row, head) for head in CONTEXT_WAYS}
    gaps = [difference(scores[h].get("document"), scores[h].get("window")) for h in SMALL]
    return [
        row["name"],
        *(scores[head].get(way) for head, each in CONTEXT_WAYS.items() for way in each),
        *(None if gap is None else signed(gap.mean, 1) for gap in gaps),
    ]


def _size(one: Mapping[str, Any]) -> list[object]:
    return [
        HEADS.get(one["corpus"], one["corpus"]),
        one["device"],
        one["precision"],
        one["batch"],
        f"{one['steps_an_epoch']:,}",
        one["milliseconds_a_step"],
        one["seconds_an_epoch"],
        f"{one['peak_mib']:,}",
    ]


def _described(row: Row) -> list[object]:
    changes = ", ".join(f"{key} {json.dumps(value)}" for key, value in row["changes"].items())
    return [
        row["name"],
        row["shows"] + (" (taken out again)" if row["retired"] else ""),
        row["encoder"],
        changes or None,
        ", ".join(row["teachers"]) or None,
        ", ".join(map(str, row["seeds"])) or "not run",
        f"{row['seconds']:.0f}" if row["status"] == "run" else None,
    ]


def _strict(row: Row) -> Iterable[list[object]]:
    """Yield a row's strict precision, recall and F1 by head and type."""
    for head in row["corpora"]:
        labels = row["devel"]["sentence"][head]["by_type"] if head == "bc5cdr" else {}
        for label in ("", *labels):
            path = ("by_type", label) if label else ()
            cells = [
                score_at(row, block, "sentence", head, *path, number)
                for block in BLOCKS
                for number in ("precision", "recall", "f1")
            ]
            yield [row["name"], f"{HEADS[head]} {label.lower()}".strip(), *cells]
