"""How far a command is, as a bar on a terminal and as a line elsewhere: what commands share."""

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

REFRESH_SECONDS = 0.2
LINE_SECONDS = 15.0


def make_bar(verb: str) -> Progress:
    """Return a bar on standard error whose tasks have a `note`."""
    return Progress(
        TextColumn(verb),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[note]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )


def line(note: str, done_bytes: int, total_bytes: int) -> str:
    """Return a line that says how much of the input is read."""
    share = min(1.0, done_bytes / max(1, total_bytes))
    return f"{note}, {share:.0%} of the input read\n"
