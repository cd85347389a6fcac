"""The drift's figures as they are shown, in the page and in the terminal."""

from training.drift.report import DriftReport
from worker.drift.index import DriftLimits, HeadDrift

MISSING = "–"


def no_warnings_words(report: DriftReport) -> str:
    """Return what a report without warnings says: whether there was anything to judge, too."""
    left_out = report.not_judged
    count, days = sum(left_out.values()), report.day_count
    if not count:
        return "no warnings"
    if count == days:
        return "no warnings, since no day was judged"
    return f"no warnings; {count:,} of {days:,} days not judged: {', '.join(left_out)}"


def change_word(drift: HeadDrift) -> str:
    """Return the relative change of the mentions per citation, such as `+12 %`."""
    if drift.change is None:
        return MISSING
    points = round(100 * drift.change)
    return f"{'+' if points > 0 else '−' if points < 0 else '±'}{abs(points)} %"


def excess_word(drift: HeadDrift, limits: DriftLimits) -> str:
    """Return the scores' index beyond chance; a dash where there are too few to judge."""
    excess = drift.psi_excess
    return MISSING if excess is None or drift.mentions < limits.mentions else f"{excess:.3f}"


def share_word(share: float | None) -> str:
    """Return a share as per cent; a dash where it is not known."""
    return MISSING if share is None else f"{100 * share:.3f} %"
