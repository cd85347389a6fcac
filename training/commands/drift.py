"""`pubner drift`: reports changes of annotations over time."""

from collections.abc import Sequence

from training.settings.drift import DriftSettings
from worker.cli.command import parse_settings
from worker.cli.progress import show_loading


def run(argv: Sequence[str]) -> int:
    """Run `pubner drift`; return the exit status: 1 for a warning with --fail-on-warning.

    :raises PubnerError: with a one-line message for the user.
    """
    settings = parse_settings(
        DriftSettings,
        argv,
        prog="pubner drift",
        description="Compare what an output's checkpoints found on each day with their references: "
        "mentions per citation, scores, and unknown word pieces.",
        positional="output",
    )
    with show_loading():
        from training.jobs.drift import report_drift

    return report_drift(settings)
