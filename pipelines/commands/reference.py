"""The command `pubner checkpoint reference`."""

from pipelines.settings.reference import ReferenceSettings
from worker.cli.command import command

PROG = "pubner checkpoint reference"


@command(ReferenceSettings, prog=PROG, positional="checkpoint")
def run(settings: ReferenceSettings) -> int:
    """Annotate texts, and write what a checkpoint finds into its manifest.

    These statistics are the reference for drift detection. The checkpoint's id stays the same.
    """
    from pipelines.runtime.reference import make_reference

    return make_reference(settings)
