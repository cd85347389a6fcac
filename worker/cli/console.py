"""Console output of commands: JSON for programs, tables for people."""

import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from schemas.errors import OutputError
from worker.cli.terminal import safe_json, safe_text
from worker.storage.atomic import write_whole

if TYPE_CHECKING:
    from rich.console import Console

_WIDEST = 100_000
"""A width in columns that no table reaches."""
_LEGIBLE = 12
"""A column narrower than both this and its longest word is hard to read."""

_LEAST_CUT = 20
"""The least width of a cell that is cut, even if lines then exceed the console's width."""


def write_json(value: object, file: str | None) -> None:
    """Write `value` as JSON to `file`; `-` is standard output, None is nowhere.

    Missing parent folders are created; a regular file is written atomically.

    :raises OutputError: if the file cannot be written.
    """
    if file is None:
        return
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
        write_whole(path, text, shared=True)
    except OSError as error:
        raise OutputError(f"cannot write {file!r}: {error.strerror or error}") from error


def print_figures(
    console: "Console",
    rows: Iterable[tuple[str, object, str]],
    *,
    alarming: Iterable[str] = ("dead letters",),
) -> None:
    """Print the figures of a run: each row a name, a number or text, and a remark.

    Rows of the names in `alarming` are red if their number is not 0.
    """
    from rich.text import Text

    red = frozenset(alarming)

    def shown(figure: object) -> str:
        if isinstance(figure, int | float):
            return f"{figure:,.1f}" if isinstance(figure, float) else f"{figure:,}"
        return str(figure)

    def styled(name: str, figure: object, remark: str) -> Sequence[object]:
        cells = (name, shown(figure), remark)
        return [Text(cell, "bold red") for cell in cells] if figure and name in red else cells

    print_table(console, [styled(*row) for row in rows], right=[1])


def listing(counts: Mapping[str, int]) -> str:
    """Return counts as text: `3 parse, 1 write`."""
    return ", ".join(f"{count:,} {name}" for name, count in counts.items())


def human_console(json_file: str | None = None) -> "Console":
    """Return the console for human-readable text: standard error if `json_file` is `-`.

    Standard output then holds only the JSON. Without a terminal there are no colour codes, and
    lines are 120 columns wide, whatever the environment says. Control characters in printed text
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
    """Print `rows` as a table; `right` holds the indices of right-aligned columns.

    Columns in `whole` are never wrapped, even if lines then exceed the console's width. Columns in
    `cut` are never wrapped either: text that does not fit is replaced by an ellipsis.
    A cell may be any object: a `rich.text.Text` keeps its style, everything else is shown as text.
    On a terminal that is too narrow for `columns`, each row becomes a table of its own, with a line
    for each non-empty column; but not if there are `cut` columns, whose rows are one line each.
    """
    from rich import box
    from rich.cells import cell_len
    from rich.measure import Measurement
    from rich.table import Table
    from rich.text import Text

    right_aligned, unwrapped, shortened = set(right), set(whole), set(cut)
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
        needed = sum(longest(n) if n in unwrapped else least(n) for n in range(width))
        if needed + 3 * width + 1 > console.width:  # three spaces between columns, and the edges
            for number, row in enumerate(materialised):
                pairs = [pair for pair in zip(columns, row, strict=False) if str(pair[1])]
                print_table(console, pairs, title=None if number else title)
            return
    table = Table(title=title, title_justify="left", box=box.SIMPLE, show_header=bool(columns))
    room = console.width - 3 * width - 1  # three spaces between columns, and the edges
    room -= sum(longest(index) for index in range(width) if index not in shortened)
    for index in range(width):
        table.add_column(
            columns[index] if index < len(columns) else "",
            justify="right" if index in right_aligned else "left",
            overflow="ellipsis" if index in shortened else "fold",
            no_wrap=index in unwrapped | shortened,
            min_width=longest(index) if index in unwrapped else None,
            # Set, because rich would drop whole columns beside one that cannot be wrapped.
            width=min(longest(index), max(_LEAST_CUT, room // len(shortened)))
            if index in shortened
            else None,
        )
    for row in materialised:
        table.add_row(*row)
    if unwrapped:
        wide = console.options.update(max_width=_WIDEST)
        needed = Measurement.get(console, wide, table).minimum
        if needed > console.width:
            table.width = needed  # otherwise rich would crop what does not fit
    console.print(table, crop=not unwrapped)
