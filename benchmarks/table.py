"""The results as tables for a terminal."""

import sys
from collections.abc import Mapping
from typing import Any


def print_results(results: Mapping[str, Any]) -> None:
    """Print peak rates, rates, ratios, and omitted rows."""
    limit = results["limit"]
    print_figures("machine", results["machine"])
    print_figures(
        "limit", {key: value for key, value in limit.items() if isinstance(value, int | float)}
    )
    print(
        f"\n{'row':<18} {'citations/s':>11} {'least':>8} {'most':>8} {'pieces/s':>10} {'share':>6}"
    )
    for name, entry in results["rates"].items():
        print(
            f"{name:<18} {entry['citations_per_s']:>11.1f} {entry['citations_per_s_min']:>8.1f} "
            f"{entry['citations_per_s_max']:>8.1f} {entry['wordpieces_per_s']:>10,.0f} "
            f"{entry['share_of_limit']:>6.3f}"
        )
    for title in ("ratios", "startup", "agreement", "left_out"):
        if results.get(title):
            print_figures(title, results[title])


def print_figures(name: str, value: object) -> None:
    """Print one result, one line per figure."""
    print(f"\n{name}")
    if isinstance(value, Mapping):
        for key, figure in value.items():
            shown = f"{figure:,.4g}" if isinstance(figure, float) else figure
            print(f"  {key:<48} {shown}")
    sys.stdout.flush()
