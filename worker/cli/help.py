"""The layout of a help page: each entry on a line of its own, its text indented below.

Two columns would leave little room for the text on a narrow terminal.
"""

import shutil
import textwrap
from collections.abc import Iterable

import click

_WIDEST = 88
"""Longer lines are hard to read."""


class HelpPage(click.HelpFormatter):
    """A help page, as wide as the terminal up to a limit."""

    def __init__(self, width: int | None = None, max_width: int = _WIDEST) -> None:
        columns = shutil.get_terminal_size((max_width, 24)).columns if width is None else width
        super().__init__(width=min(columns, max_width))

    def write_entries(self, entries: Iterable[tuple[str, str]]) -> None:
        """Write each entry: its head, and its text below, which may be empty."""
        with self.indentation():
            for head, text in entries:
                first, more = " " * self.current_indent, " " * (self.current_indent + 2)
                wrap = textwrap.TextWrapper(
                    self.width,
                    initial_indent=first,
                    subsequent_indent=more,
                    break_on_hyphens=False,
                    break_long_words=False,
                )
                self.write(f"{wrap.fill(head)}\n")
                if text:
                    with self.indentation(), self.indentation():
                        self.write_text(text)
