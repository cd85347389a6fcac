"""`pubner calibrate`: a copy of a checkpoint whose scores are calibrated on devel."""

from collections.abc import Sequence

from training.settings.calibrate import CalibrateSettings
from worker.cli.command import parse_settings
from worker.cli.progress import show_loading


def run(argv: Sequence[str]) -> int:
    """Run `pubner calibrate`; return the exit status.

    :raises PubnerError: with a one-line message for the user.
    """
    settings = parse_settings(
        CalibrateSettings,
        argv,
        prog="pubner calibrate",
        description="Copy a checkpoint, its scores calibrated on the devel split of its corpora.",
        positional="checkpoint",
    )
    with show_loading():
        from training.jobs.calibrate import calibrate

    return calibrate(settings)
