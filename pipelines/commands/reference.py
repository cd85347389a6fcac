"""The command `pubner checkpoint reference`."""

from collections.abc import Sequence

from pipelines.settings.reference import ReferenceSettings
from worker.cli.command import parse_settings

PROG = "pubner checkpoint reference"


def run(argv: Sequence[str]) -> int:
    """Run the command with the arguments after `pubner checkpoint reference`; return its exit code.

    :raises PubnerError: with a one-line message for the user.
    """
    settings = parse_settings(
        ReferenceSettings,
        argv,
        prog=PROG,
        description="Annotate texts, and write the statistics of the result into a checkpoint's "
        "manifest, as the reference for drift detection. The checkpoint's id stays the same.",
        positional="checkpoint",
    )
    from pipelines.runtime.reference import make_reference

    return make_reference(settings)
