"""Writes `docs/speed.md` and its plots, and `docs/scale.md`, from results.

`python -m benchmarks.page [RESULTS]` stores a copy of the results in `docs/speed/results.json`;
without an argument the page is generated again from that copy.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.results import PUBNER
from benchmarks.scale import SCALE_ROWS, make_scale
from benchmarks.svg import Bar, Curve, bar_plot, curve_plot

DOCS = Path(__file__).resolve().parents[1] / "docs"
_WHAT_PIECES = (
    "A row's **share** is the part of the machine's best matrix-product rate that does useful "
    "work: 2 × {parameters:,} encoder parameters × real word pieces/s ÷ {flops}."
)


def main(words: Sequence[str]) -> int:
    """Write the page and its plots."""
    kept = DOCS / "speed" / "results.json"
    results = json.loads((Path(words[0]) if words else kept).read_text("utf-8"))
    write_page(results, DOCS)
    print(f"written: {DOCS / 'speed.md'} and what is in {DOCS / 'speed'}")
    return 0


def write_page(results: Mapping[str, Any], docs: Path) -> None:
    """Write `speed.md`, `speed/results.json`, the plots and `scale.md` into the folder `docs`."""
    folder = docs / "speed"
    folder.mkdir(parents=True, exist_ok=True)
    plots = make_plots(results)
    for old in folder.glob("*.svg"):
        old.unlink()
    for name, drawing in plots.items():
        (folder / name).write_text(drawing, "utf-8")
    (folder / "results.json").write_text(json.dumps(results, indent=2) + "\n", "utf-8")
    (docs / "speed.md").write_text(make_page(results, list(plots)), "utf-8")
    if results["rates"].keys() >= SCALE_ROWS:
        (docs / "scale.md").write_text(make_scale(results), "utf-8")


def make_plots(results: Mapping[str, Any]) -> dict[str, str]:
    """Return the plots by file name."""
    rates = results["rates"]
    bars = [
        Bar(
            name,
            entry["citations_per_s"],
            entry["citations_per_s_min"],
            entry["citations_per_s_max"],
            f"{entry['citations_per_s']:,.1f}",
            name in PUBNER,
        )
        for name, entry in rates.items()
    ]
    shares = [
        Bar(name, share, share, share, f"{100 * share:.0f} %", name in PUBNER)
        for name, entry in rates.items()
        for share in (entry["share_of_limit"],)
    ]
    plots = {
        "rates.svg": bar_plot("Citations a second, all heads (more is better)", bars),
        "share.svg": bar_plot("Share of the machine's matrix-product limit", shares),
    }
    growth = results.get("growth", {})
    known = {name: growth[name]["steps"] for name in ("tagger", "pipeline") if name in growth}
    if any(known.values()):
        for file, title, unit, key in (
            ("growth-time.svg", "Time a citation takes", "ms", "ms_per_citation"),
            ("growth-memory.svg", "Resident memory", "MiB", "memory_mb"),
        ):
            curves = [
                Curve(
                    name,
                    [(step["citations"], step[key]) for step in steps],
                    ours=name == "pipeline" or len(known) == 1,
                )
                for name, steps in known.items()
                if steps
            ]
            plots[file] = curve_plot(title, unit, curves)
    return plots


def make_page(results: Mapping[str, Any], plots: Sequence[str]) -> str:
    """Return the page as Markdown."""
    machine, settings, limit = results["machine"], results["settings"], results["limit"]
    flops = max(limit["bf16_flops"], limit["fp32_flops"])
    kind = "bf16" if limit["bf16_flops"] == flops else "fp32"
    parts = [
        "# Speed",
        "Made by `make bench` and `python -m benchmarks.page out/bench.json`; do not edit.",
        f"{settings['citations']:,} real abstracts of {settings['mean_wordpieces']:.0f} word "
        f"pieces on average, the same weights, {len(settings['heads'])} heads, "
        f"{settings['repetitions']} rounds in which every row had its turn, at least "
        f"{settings['seconds']:g} s each; start-up is left out. Figures are medians.",
        *(["**The short form**: figures are rough."] if settings["quick"] else []),
        "## The machine",
        _machine_table(machine, settings),
        "## Its limit",
        _limit_table(limit),
        "## Side by side",
        "![Citations a second](speed/rates.svg)",
        _rate_table(results["rates"]),
        _WHAT_PIECES.format(
            parameters=settings["encoder_matrix_parameters"], flops=f"{_flops(flops)} ({kind})"
        )
        + " What a row reads in several passes, pads or computes in vain counts once or not at "
        "all.",
        "![Share of the limit](speed/share.svg)",
    ]
    whole = results["rates"].get("pipeline-direct", {}).get("parquet_bytes_per_citation")
    if whole:
        parts.append(_size(whole, "whole text"))
    if results.get("ratios"):
        parts += ["## How they stand to each other", _plain_table(results["ratios"], "ratio")]
    if results.get("left_out"):
        parts += ["Left out: " + "; ".join(f"`{x}`" for x in results["left_out"]) + "."]
    if results.get("agreement"):
        parts += ["## Mentions", _agreement(results["agreement"])]
    scores = {x: results[x] for x in ("scores", "scores, fp32") if x in results}
    if len(scores) == 2:
        parts += ["## F1 on devel", _score_table(scores["scores"], scores["scores, fp32"])]
    if "profile" in results:
        parts += [
            "## Where the pipeline's time goes",
            _profile(results["profile"], machine["cores"]),
        ]
    if "growth" in results:
        parts += ["## Growth", *_growth(results["growth"], plots)]
    if "startup" in results:
        start = results["startup"]
        parts += [
            "## Start-up",
            f"`pubner --help`: {start['help_s']:.2f} s. `pubner annotate` to the first batch: "
            f"{start['first_batch_s']:.1f} s.",
        ]
    return "\n\n".join(parts) + "\n"


def _machine_table(machine: Mapping[str, Any], settings: Mapping[str, Any]) -> str:
    matrix = [name for name in ("amx_bf16", "avx512_bf16") if machine[name]]
    versions = ", ".join(f"{name} {text}" for name, text in machine["versions"].items())
    return _table(
        ["", ""],
        [
            ["date", machine["date"]],
            ["processor", f"{machine['processor']}, {machine['cores']} cores"],
            ["bf16", ", ".join(matrix) or "not native"],
            ["memory", f"{machine['memory_gib']} GiB"],
            ["GPU", machine["gpu"] or "none"],
            ["measured on", f"{settings['device']}, {settings['threads']} threads"],
            ["system", machine["system"]],
            ["versions", versions],
        ],
    )


def _limit_table(limit: Mapping[str, Any]) -> str:
    return _table(
        ["what", "rate"],
        [
            ["matrix products, bf16", _flops(limit["bf16_flops"])],
            ["matrix products, fp32", _flops(limit["fp32_flops"])],
            ["matrix products, int8", _flops(limit["int8_ops"]).replace("FLOP", "OP")],
            ["tokeniser", f"{limit['tokenizer_wordpieces_per_s']:,.0f} word pieces/s"],
            ["memory, read and written", f"{limit['memory_bytes_per_s'] / 1e9:.1f} GB/s"],
        ],
    )


def _rate_table(rates: Mapping[str, Mapping[str, Any]]) -> str:
    rows = [
        [
            f"**{name}**" if name in PUBNER else name,
            f"{entry['citations_per_s']:,.1f}",
            f"{entry['citations_per_s_min']:,.1f} – {entry['citations_per_s_max']:,.1f}",
            f"{entry['wordpieces_per_s']:,.0f}",
            f"{entry['share_of_limit']:.3f}",
            _how(entry),
        ]
        for name, entry in rates.items()
    ]
    head = ["row", "citations/s", "least – most", "word pieces/s", "share", "what"]
    return _table(head, rows, right=range(1, 5))


def _how(entry: Mapping[str, Any]) -> str:
    more = [entry["what"]] if "what" in entry else []
    if entry.get("parallelism", 1) > 1:
        more.append(f"parallelism {entry['parallelism']}")
    if entry.get("threads"):
        more.append(f"{entry['threads']} thread a worker")
    return ", ".join(more)


def _agreement(agreement: Mapping[str, Any]) -> str:
    rows = [
        [name, f"{found['mentions']:,}", f"{100 * found['share_different']:.2f} %"]
        for name, found in agreement.items()
        if isinstance(found, Mapping)
    ]
    return (
        f"Beside plain PyTorch in fp32 (`{agreement['reference']}`), over "
        f"{agreement['citations']:,} citations; a mention that only one of the two has counts, so "
        "another boundary counts twice.\n\n"
        + _table(["row", "mentions", "different"], rows, right=(1, 2))
    )


def _profile(profile: Mapping[str, Any], cores: int) -> str:
    stages: Mapping[str, float] = profile["stages"]
    encoder = stages.get("encoder", 0.0)
    rows = [
        [stage, f"{seconds:.2f}", f"{100 * seconds / profile['cpu_s']:.1f} %"]
        for stage, seconds in stages.items()
    ]
    beside = profile["cpu_s"] - encoder
    return (
        "`pubner annotate` from XML to Parquet on the DirectRunner, one process, from the first "
        "batch to the end: processor time by what it was spent on. All that is not the encoder "
        f"takes {100 * beside / encoder:.1f} % of the encoder's; the cores were busy for "
        f"{100 * profile['cpu_s'] / (cores * profile['wall_s']):.0f} % of the "
        f"{profile['wall_s']:.1f} s.\n\n"
        + _table(["spent on", "seconds", "share"], rows, right=(1, 2))
    )


def _score_table(shipped: Mapping[str, float], plain: Mapping[str, float]) -> str:
    rows = [
        [name, f"{100 * value:.2f}", f"{100 * plain[name]:.2f}"] for name, value in shipped.items()
    ]
    return _table(["strict F1", "as shipped", "fp32"], rows, right=(1, 2))


def _growth(growth: Mapping[str, Any], plots: Sequence[str]) -> list[str]:
    parts = []
    share = growth["share_of_sentences"]
    texts = "whole" if share >= 1 else f"cut at random to {100 * share:.0f} % of their sentences"
    parts.append(f"{growth['citations']:,} citations: real abstracts over and over, {texts}.")
    titles = {
        "growth-time.svg": "Time a citation takes over the number of citations",
        "growth-memory.svg": "Resident memory over the number of citations",
    }
    parts += [f"![{titles[file]}](speed/{file})" for file in titles if file in plots]
    for name in ("tagger", "pipeline"):
        if name in growth:
            found = growth[name]
            rows = [
                [
                    f"{step['citations']:,}",
                    f"{step['ms_per_citation']:.2f}",
                    f"{step['memory_mb']:,.0f}",
                ]
                for step in found["steps"]
            ]
            heads = [f"citations, {name}", "ms each", "MiB at most"]
            parts.append(_table(heads, rows, right=range(3)))
            if found["time_growth"] is not None and found["memory_growth"] is not None:
                parts.append(
                    f"The last step of the {name} takes {100 * found['time_growth']:+.1f} % of "
                    f"the median step's time a citation; memory grows by "
                    f"{100 * found['memory_growth']:+.1f} % after the first fifth."
                )
    if "mean_characters" in growth:
        mean = f"{growth['mean_characters']:,.0f}"
        parts.append(_size(growth["parquet_bytes_per_citation"], f"text of {mean} characters"))
    return parts


def _size(size: Mapping[str, float], text: str) -> str:
    return (
        f"Parquet takes {size['all']:,.0f} bytes a citation ({size['citations']:,.0f} for the "
        f"citation with its {text}, {size['mentions']:,.0f} for its "
        f"{size['mentions_per_citation']:.1f} mentions)."
    )


def _plain_table(figures: Mapping[str, float], title: str) -> str:
    rows = [[name, f"{value:.2f}"] for name, value in figures.items()]
    return _table(["", title], rows, right=(1,))


def _table(
    head: Sequence[str], rows: Sequence[Sequence[object]], *, right: Sequence[int] = ()
) -> str:
    lines = [
        "| " + " | ".join(head) + " |",
        "|" + "|".join("---:" if place in right else "---" for place in range(len(head))) + "|",
    ]
    lines += ["| " + " | ".join(map(str, row)) + " |" for row in rows]
    return "\n".join(lines)


def _flops(value: float) -> str:
    return f"{value / 1e12:.2f} TFLOP/s" if value >= 1e12 else f"{value / 1e9:.0f} GFLOP/s"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
