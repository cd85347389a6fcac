"""Checks of a run before slow imports."""

from collections.abc import Sequence

from pipelines.runners.names import check_runner, find_runner
from pipelines.settings.annotate import ModelSettings
from schemas.errors import SettingsError
from worker.cli.devices import check_here


def check_runner_and_device(settings: ModelSettings, beam_arguments: Sequence[str]) -> str:
    """Check the runner and the device before slow imports; return the runner's full name.

    :raises SettingsError: if the runner, or the device of a run in this process, is unavailable.
    """
    runner = check_runner(settings.runner, beam_arguments)
    if find_runner(runner).in_process:
        try:
            check_here(settings.device)
        except ValueError as error:
            raise SettingsError(f"option --device {settings.device!r}: {error}") from None
    return runner
