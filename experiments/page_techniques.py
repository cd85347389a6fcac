"""The page's sections on the effect of each technique, against its base row."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments.cells import MTL_PLAIN, PAIR_PLAIN, SMALL
from experiments.choice import best_row, devel_rows
from experiments.figures import (
    HEADS,
    JOINED,
    Row,
    Rows,
    difference,
    f1,
    noise,
    score_at,
    signed,
    spread,
    table,
)
from experiments.plots import plot_differences

_BALANCE = ("mtl-uniform", "mtl-temperature", "mtl-annealed", "mtl-uncertainty")


def in_short_lines(data: Mapping[str, Any], run: Rows) -> list[str]:
    """Return the summary of the table, generated from its numbers."""
    lines = ["## In short", ""]
    best = best_row(devel_rows(data["rows"]))
    singles = run.get(JOINED)
    if best and singles:
        name = best.name
        for block, words in (("devel", "on devel"), ("test", "on test")):
            gaps = [
                f"{HEADS[head]} {signed(gap.mean)}"
                for head in HEADS
                if (gap := difference(f1(run[name], block, head), f1(singles, block, head)))
            ]
            lines.append(
                f"- One `{name}` against four single-task models, {words}: {', '.join(gaps)}."
            )
    if best:
        lines += _best_lines(run, best.name)
    better: list[str] = []
    worse: list[str] = []
    pool = _pool(run)
    for row in pool:
        base = run.get(row.get("against", ""))
        for head in HEADS:
            gap = difference(f1(row, "devel", head), f1(base, "devel", head)) if base else None
            if base and gap and abs(gap.mean) > noise(row, base, spread(pool, head)):
                told = f"`{row['name']}` {HEADS[head]} {signed(gap.mean)}"
                (better if gap.mean > 0 else worse).append(told)
    lines.append(f"- Better than their base on devel, beyond noise: {', '.join(better) or 'none'}.")
    lines.append(f"- Worse than their base on devel, beyond noise: {', '.join(worse) or 'none'}.")
    missing = sum(row["status"] != "run" for row in data["rows"])
    lines.append(f"- {len(data['rows']) - missing} rows were run, {missing} were not.")
    return [*lines, ""]


def _best_lines(run: Rows, name: str) -> list[str]:
    """Return the chosen row's difference from the baseline, and its end-to-end scores."""
    lines = []
    baseline = run.get("baseline-dictionary")
    if baseline:
        gaps = [
            f"{HEADS[head]} {signed(gap.mean)}"
            for head in HEADS
            if (gap := difference(f1(run[name], "test", head), f1(baseline, "test", head)))
        ]
        lines.append(f"- `{name}` against the dictionary, on test: {', '.join(gaps)}.")
    ends = [
        f"{HEADS[head]} {whole} (corpus, in windows: {window})"
        for head in SMALL
        if (whole := score_at(run[name], "documents", head, "f1"))
        and (window := score_at(run[name], "devel", "window", head, "f1"))
    ]
    if ends:
        lines.append(f"- `{name}` end to end on raw devel documents: {', '.join(ends)}.")
    return lines


def balance_lines(run: Rows, plots: Path) -> list[str]:
    """Return the section on corpora of unequal size, and draw its plot; empty if not run."""
    rows = [run[name] for name in _BALANCE if name in run]
    if MTL_PLAIN not in run or not rows:
        return []
    base = run[MTL_PLAIN]
    pool = _pool(run)
    plot_differences(rows, base, list(HEADS), plots / "balance.svg", pool=pool)
    return [
        "## Corpora of unequal size",
        "",
        "NCBI has the fewest mentions and JNLPBA by far the most text; size is counted in word "
        "pieces. `mtl-plain` draws windows in proportion to it. What else was tried, as "
        "differences from it on devel; ± is the standard deviation of the difference of the means, "
        "and **bold** is beyond the noise band of the plot.",
        "",
        "![Effect of sampling and of weighting by head](experiments/balance.svg)",
        "",
        *_differences(rows, base, list(HEADS), pool),
    ]


def techniques_lines(run: Rows, plots: Path) -> list[str]:
    """Return the section on regularisation, and draw its plot; empty if not run."""
    rows = [row for row in run.values() if row.get("against") == PAIR_PLAIN]
    if PAIR_PLAIN not in run or not rows:
        return []
    base, heads = run[PAIR_PLAIN], list(SMALL)
    rows.sort(key=lambda row: (row["name"].startswith("augment"), row["name"]))
    pool = _pool(run)
    plot_differences(rows, base, heads, plots / "techniques.svg", pool=pool)
    retired = [f"`{row['name']}`" for row in rows if row["retired"]]
    chosen = [row for row in rows if not row["name"].startswith("augment")]
    return [
        "## Regularisation",
        "",
        "One thing changed at a time, on the two small corpora, where it shows most and costs "
        f"least. The base is `{PAIR_PLAIN}`: {base['shows']}. The band in the plot is twice the "
        "standard deviation of such a difference if nothing had an effect; bars that stay in it "
        "show nothing.",
        "",
        "![Effect of each technique on devel](experiments/techniques.svg)",
        "",
        *_differences(chosen, base, heads, pool),
        *(
            [
                "Taken out of the code again, for they gave nothing beyond noise: "
                f"{', '.join(retired)}. Their rows stay.",
                "",
            ]
            if retired
            else []
        ),
    ]


def augmentation_lines(run: Rows) -> list[str]:
    """Return the section on augmentation; empty if not run."""
    rows = [row for row in run.values() if row["name"].startswith("augment-")]
    if PAIR_PLAIN not in run or not rows:
        return []
    pool = _pool(run)
    return [
        "## Augmentation",
        "",
        "Sentences changed as they are drawn, 30 % of them (Dai and Adel 2020), on the same two "
        "corpora; the bars are in the plot above. Joining sentences into windows is in the section "
        "on document context.",
        "",
        *_differences(rows, run[PAIR_PLAIN], list(SMALL), pool),
    ]


def _differences(
    rows: Sequence[Row], base: Row, heads: Sequence[str], pool: Sequence[Row]
) -> list[str]:
    deviations = {head: spread(pool, head) for head in heads}

    def cell(row: Row, head: str) -> str | None:
        found = difference(f1(row, "devel", head), f1(base, "devel", head))
        if found is None:
            return None
        beyond = abs(found.mean) > noise(row, base, deviations[head])
        return f"**{found}**" if beyond else str(found)

    columns = ["row", "what", "runs", *(HEADS[head] for head in heads), "cost"]
    body = [
        [
            base["name"],
            base["shows"],
            len(base["seeds"]),
            *(f1(base, "devel", h) for h in heads),
            "1.0",
        ]
    ]
    for row in rows:
        cost = f"{row['seconds'] / base['seconds']:.1f}" if base["seconds"] else None
        cells = [cell(row, head) for head in heads]
        body.append([row["name"], row["shows"], len(row["seeds"]), *cells, cost])
    return table(columns, body, 2)


def adaptation_lines(data: Mapping[str, Any], run: Rows) -> list[str]:
    """Return the section on masked language modelling; empty if not run."""
    pairs = [
        (f"{block}, {name}", [f1(run[name], block, head) for head in HEADS])
        for block in ("devel", "test")
        for name in (MTL_PLAIN, "mtl-mlm")
        if name in run
    ]
    if "mtl-mlm" not in run or MTL_PLAIN not in run:
        return []
    gains: list[list[object]] = [
        [
            f"{block}, difference",
            *(
                difference(f1(run["mtl-mlm"], block, head), f1(run[MTL_PLAIN], block, head))
                for head in HEADS
            ),
        ]
        for block in ("devel", "test")
    ]
    lines = [
        "## The encoder, adapted to the field",
        "",
        "Masked language modelling on abstracts and training splits (`pubner train mlm`), before "
        "the heads are trained; all else is the same.",
        "",
        *table(["", *HEADS.values()], [*([name, *scores] for name, scores in pairs), *gains]),
    ]
    if data["encoders"]:
        lines += [
            "How the encoders were made; the loss is that of masked word pieces of documents held "
            "out:",
            "",
            *table(
                ["encoder", "epochs", "steps", "word pieces of text", "loss", "right", "seconds"],
                [
                    [
                        one["name"],
                        one["epochs"],
                        f"{one['steps']:,}",
                        f"{one['pieces']:,}",
                        f"{one['held_out_loss']:.2f}",
                        f"{100 * one['held_out_accuracy']:.0f} %",
                        f"{one['seconds']:.0f}",
                    ]
                    for one in data["encoders"]
                ],
            ),
        ]
    return lines


def _pool(run: Rows) -> list[Row]:
    """Return the rows used to estimate the deviation over runs."""
    return [row for row in run.values() if row["name"] != JOINED]
