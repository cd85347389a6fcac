"""The text forms of drift figures, for the page and the terminal."""

from training.drift.report import DriftReport
from training.reports.pages import DASH
from worker.drift.index import DriftLimits, HeadDrift


def no_warnings_text(report: DriftReport) -> str:
    """Return the summary of a report without warnings, with the number of days not judged."""
    left_out = report.not_judged
    count, days = sum(left_out.values()), report.day_count
    if not count:
        return "no warnings"
    if count == days:
        return "no warnings, since no day was judged"
    return f"no warnings; {count:,} of {days:,} days not judged: {', '.join(left_out)}"


def change_text(drift: HeadDrift) -> str:
    """Return the relative change of the mentions per citation, such as `+12 %`."""
    if drift.change is None:
        return DASH
    points = round(100 * drift.change)
    return f"{'+' if points > 0 else '−' if points < 0 else '±'}{abs(points)} %"


def excess_text(drift: HeadDrift, limits: DriftLimits) -> str:
    """Return the PSI of the scores beyond chance; a dash if there are too few to judge."""
    excess = drift.psi_excess
    return DASH if excess is None or drift.mentions < limits.mentions else f"{excess:.3f}"


def percent_text(share: float | None) -> str:
    """Return a fraction as a percentage; a dash if unknown."""
    return DASH if share is None else f"{100 * share:.3f} %"
