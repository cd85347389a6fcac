"""`pubner drift`: reports changes of annotations over time."""

from training.settings.drift import DriftSettings
from worker.cli.command import command
from worker.cli.progress import show_loading


@command(DriftSettings, prog="pubner drift", positional="output")
def run(settings: DriftSettings) -> int:
    """Compare what an output's checkpoints found on each day with their references.

    Compared are the mentions per citation, the scores, and the unknown word pieces.
    """
    with show_loading():
        from training.jobs.drift import report_drift

    return report_drift(settings)
