"""`pubner calibrate`: a copy of a checkpoint whose scores are calibrated on devel."""

from training.settings.calibrate import CalibrateSettings
from worker.cli.command import command
from worker.cli.progress import show_loading


@command(CalibrateSettings, prog="pubner calibrate", positional="checkpoint")
def run(settings: CalibrateSettings) -> int:
    """Copy a checkpoint, its scores calibrated on the devel split of its corpora."""
    with show_loading():
        from training.jobs.calibrate import calibrate

    return calibrate(settings)
