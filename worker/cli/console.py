"""What a command prints and writes: JSON for programs, tables for people."""

import os
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from schemas.errors import OutputError
from worker.cli.terminal import safe_json, safe_text

if TYPE_CHECKING:
    from rich.console import Console

_WIDEST = 100_000
"""More columns than any table has."""
_LEGIBLE = 12
"""A column that is narrower than this and than its longest word cannot be read well."""

_LEAST_CUT = 20
"""What is left of a cell that is cut, even if lines get longer than the console is wide."""


def write_json(value: object, file: str) -> None:
    """Write `value` as JSON to `file`, or to standard output where `file` is `-`.

    Parent folders are made; a regular file appears whole or not at all.

    :raises OutputError: if the file cannot be written.
    """
    if file == "-":
        sys.stdout.write(safe_json(value, indent=2, encoding=sys.stdout.encoding or "utf-8") + "\n")
        sys.stdout.flush()
        return
    text = safe_json(value, indent=2) + "\n"
    path = Path(file)
    try:
        if path.exists() and not path.is_file():
            path.write_text(text, encoding="utf-8")
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        _replace(path, text)
    except OSError as error:
        raise OutputError(f"cannot write {file!r}: {error.strerror or error}") from error


def _replace(path: Path, text: str) -> None:
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(text)
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def human_console(json_file: str | None = None) -> "Console":
    """Return where text for people goes: standard error when `json_file` is `-`.

    Standard output then holds the JSON alone. Without a terminal there are no colour codes, and
    lines are 120 columns wide, whatever the environment says. Control characters in what is printed
    are shown as escapes.
    """
    from worker.cli.safe_console import SafeConsole

    to_stderr = json_file == "-"
    terminal = (sys.stderr if to_stderr else sys.stdout).isatty()
    return SafeConsole(
        stderr=to_stderr,
        force_terminal=terminal,
        width=None if terminal else 120,
        highlight=False,
        markup=False,
        emoji=False,
    )


def print_table(
    console: "Console",
    rows: Iterable[Sequence[object]],
    *,
    columns: Sequence[str] = (),
    title: str | None = None,
    right: Iterable[int] = (),
    whole: Iterable[int] = (),
    cut: Iterable[int] = (),
) -> None:
    """Print `rows` as a table; `right` are the indices of the columns set flush right.

    Those that are `whole` are never folded, even if lines get longer than the console is wide.
    Those that are `cut` are never folded either: what does not fit is left out, with an ellipsis.
    A cell may be any object: a `rich.text.Text` keeps its style, everything else is shown as text.
    On a terminal that is too narrow for `columns` each row is a table of its own, with a line for
    each column that holds something; not where some are `cut`, since such rows are one line each.
    """
    from rich import box
    from rich.cells import cell_len
    from rich.measure import Measurement
    from rich.table import Table
    from rich.text import Text

    flush_right, unfolded, shortened = set(right), set(whole), set(cut)
    materialised = [
        [cell if isinstance(cell, Text) else safe_text(str(cell)) for cell in row] for row in rows
    ]
    width = max([len(columns), *(len(row) for row in materialised)], default=0)

    def longest(index: int) -> int:
        return max(
            cell_len(str(row[index])) for row in (columns, *materialised) if index < len(row)
        )

    def least(index: int) -> int:
        cells = [str(row[index]) for row in (columns, *materialised) if index < len(row)]
        words = [word for cell in cells for word in cell.split()]
        return min(_LEGIBLE, max(map(cell_len, words), default=0))

    if console.is_terminal and columns and materialised and not shortened:
        needed = sum(longest(n) if n in unfolded else least(n) for n in range(width))
        if needed + 3 * width + 1 > console.width:  # three columns of space between two, and edges
            for number, row in enumerate(materialised):
                pairs = [pair for pair in zip(columns, row, strict=False) if str(pair[1])]
                print_table(console, pairs, title=None if number else title)
            return
    table = Table(title=title, title_justify="left", box=box.SIMPLE, show_header=bool(columns))
    room = console.width - 3 * width - 1  # three columns of space between two, and edges
    room -= sum(longest(index) for index in range(width) if index not in shortened)
    for index in range(width):
        table.add_column(
            columns[index] if index < len(columns) else "",
            justify="right" if index in flush_right else "left",
            overflow="ellipsis" if index in shortened else "fold",
            no_wrap=index in unfolded | shortened,
            min_width=longest(index) if index in unfolded else None,
            # Given, since rich would leave out whole columns beside one that cannot be folded.
            width=min(longest(index), max(_LEAST_CUT, room // len(shortened)))
            if index in shortened
            else None,
        )
    for row in materialised:
        table.add_row(*row)
    if unfolded:
        wide = console.options.update(max_width=_WIDEST)
        needed = Measurement.get(console, wide, table).minimum
        if needed > console.width:
            table.width = needed  # or rich would crop what does not fit
    console.print(table, crop=not unfolded)
