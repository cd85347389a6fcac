"""`pubner checkpoint reference`: what a checkpoint finds in texts, kept to tell drift by."""

from collections.abc import Sequence

from pipelines.settings.reference import ReferenceSettings
from worker.cli.command import parse_settings

PROG = "pubner checkpoint reference"


def run(argv: Sequence[str]) -> int:
    """Run the command with the words behind `pubner checkpoint reference`; return its exit code.

    :raises PubnerError: with one line to show.
    """
    settings = parse_settings(
        ReferenceSettings,
        argv,
        prog=PROG,
        description="Annotate texts, and write what was found into a checkpoint's manifest, as the "
        "reference that its later output is compared with for drift. Its id stays the same.",
        positional="checkpoint",
    )
    from pipelines.runtime.reference import make_reference

    return make_reference(settings)
