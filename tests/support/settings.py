"""The settings that a command reads from words."""

from collections.abc import Sequence
from typing import TypeVar

from worker.cli.command import Settings, command

T = TypeVar("T", bound=Settings)


def parse_settings(
    settings: type[T],
    words: Sequence[str],
    *,
    prog: str,
    description: str = "",
    positional: str | None = None,
) -> T:
    """Return the settings that a command `prog` with this description gets from `words`."""

    def run(settings: Settings) -> None:
        pass

    run.__doc__ = description
    found: T = command(settings, prog=prog, positional=positional)(run).read(words)
    return found
