"""The gate's report as terminal tables."""

from typing import TYPE_CHECKING

from training.gate.measuring import SetComparison, SideScore
from training.gate.report import GateReport
from worker.cli.command import print_table

if TYPE_CHECKING:
    from rich.console import Console


def print_gate(report: GateReport, console: "Console") -> None:
    """Print the scores, the canary, the speed, and the notes."""
    measured = report.measured
    if measured.sets:
        print_table(
            console,
            [_row(one) for one in measured.sets],
            columns=(
                "set",
                "active F1",
                "F1",
                "difference",
                "95 %",
                "p",
                "active ECE (0-1)",
                "ECE",
            ),
            title=f"{report.candidate} {_beside(report)}, in per cent, and ECE from 0 to 1",
            right=range(1, 8),
        )
    canary = measured.canary
    if canary is not None:
        print_table(
            console,
            [
                (
                    kind.entity_type,
                    f"{kind.before:,}" if canary.compared else "",
                    f"{kind.after:,}",
                    f"{kind.lost:,}",
                    f"{kind.gained:,}",
                    f"{kind.altered:,}",
                    f"{100 * kind.changed_mentions_share:.1f}",
                    f"{100 * canary.changed_share_of(kind):.1f}",
                )
                for kind in canary.types
            ],
            columns=(
                "type",
                "before",
                "after",
                "lost",
                "gained",
                "altered",
                "mentions %",
                "citations %",
            ),
            title=f"Canary: mentions in {canary.citations:,} citations, and fraction changed",
            right=range(1, 8),
        )
        if canary.compared:
            console.print(
                f"Mentions change in {100 * canary.changed_share:.1f} % of the citations; "
                f"{100 * canary.changed_mentions_share:.1f} % of {canary.mentions:,} mentions "
                "change.",
                soft_wrap=True,
            )
    if measured.speed is not None:
        speed = measured.speed
        console.print(
            f"Speed: {speed.ratio:.2f} times the active checkpoint's, on {speed.texts} "
            f"{speed.what}, {speed.rounds} rounds.",
            soft_wrap=True,
        )
    for note in report.notes:
        console.print(f"Note: {note}.", soft_wrap=True)
    for breach in report.breaches:
        console.print(f"Broken: {breach.subject} {breach.words}.", soft_wrap=True)


def _beside(report: GateReport) -> str:
    return f"beside {report.active}" if report.active else "alone"


def _row(one: SetComparison) -> tuple[str, ...]:
    found = one.bootstrap
    return (
        one.name if one.name.startswith(one.head) else f"{one.head} on {one.name}",
        _percent(one.active, "f1"),
        _percent(one.candidate, "f1"),
        "" if found is None else f"{100 * found.difference:+.2f}",
        "" if found is None else f"{100 * found.low:+.2f} to {100 * found.high:+.2f}",
        "" if found is None else f"{found.p_value:.3f}",
        _error(one.active),
        _error(one.candidate),
    )


def _error(side: SideScore | None) -> str:
    return "" if side is None else f"{side.ece:.3f}"


def _percent(side: SideScore | None, name: str) -> str:
    return "" if side is None else f"{100 * getattr(side, name):.2f}"
