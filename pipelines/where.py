"""A condition in SQL over the columns of `citations`, which DuckDB reads and evaluates.

A condition comes from a command line, so it sees nothing but the rows it is given: no file, no
network, no extension, no Python variable, and no setting that could be changed to reach them.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from schemas.arrow import CITATIONS
from schemas.errors import SettingsError

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection, DuckDBPyRelation

_TEXT = "text"
_BOOLEAN = "BOOLEAN"

Evaluate = Callable[[pa.Table], pa.BooleanArray]
"""Returns, row by row of a table with the condition's columns and `offset`, whether it holds."""


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition that `parse_condition` found right, and the columns that it needs.

    `text` is left out of the columns where the condition does without: it is most of a block.
    """

    sql: str
    columns: tuple[str, ...]

    @contextmanager
    def evaluating(self) -> Iterator[Evaluate]:
        """Open what evaluates the condition, for one thread at a time.

        A row for which the condition is null does not match. The offsets of a table must differ, as
        those of a block do.

        :raises SettingsError: (the function) if a value cannot be evaluated, as in a wrong cast.
        """
        with _sealed() as connection:

            def evaluate(table: pa.Table) -> pa.BooleanArray:
                with _explained(self.sql):
                    rows = connection.from_arrow(table.select(self.columns)).filter(self.sql)
                    found = rows.select('"offset"').to_arrow_table()
                mask = pc.is_in(table["offset"], found["offset"])
                return mask.combine_chunks() if isinstance(mask, pa.ChunkedArray) else mask

            yield evaluate


def parse_condition(sql: str) -> Condition:
    """Return the condition that `sql` holds.

    :raises SettingsError: if it is not exactly one expression that is true or false, or names what
        is no column of `citations`.
    """
    whole = CITATIONS.empty_table()
    without_text = whole.drop_columns([_TEXT])
    with _sealed() as connection:
        types = _types(connection, whole, sql)
        wrong = [kind for kind in types if kind != _BOOLEAN]
        if wrong:
            raise SettingsError(
                f"--where {sql!r} is of type {wrong[0].strip(chr(34))}, expected a condition that "
                "is true or false, such as \"checkpoint_id != 'ID'\""
            )
        try:
            needs_text = _types(connection, without_text, sql) != types
        except SettingsError:
            needs_text = True
    table = whole if needs_text else without_text
    return Condition(sql, tuple(table.column_names))


def _types(connection: "DuckDBPyConnection", table: pa.Table, sql: str) -> list[str]:
    """Return the types of what `sql` gives on `table`: one, or several where it says COLUMNS.

    `filter` takes one expression and nothing behind it, and refuses aggregates; `project` tells the
    types.
    """
    with _explained(sql):
        rows: DuckDBPyRelation = connection.from_arrow(table)
        rows.filter(sql).fetchall()
        return [str(kind) for kind in rows.project(sql).types]


@contextmanager
def _explained(sql: str) -> Iterator[None]:
    """Turn what DuckDB says against a condition into one line."""
    from duckdb import Error

    try:
        yield
    except (Error, UnicodeError) as error:
        reason = str(error).partition("\n")[0].rstrip(".!: ")
        names = ", ".join(f'"{name}"' if name == "offset" else name for name in CITATIONS.names)
        raise SettingsError(
            f"--where {sql!r}: {reason}; expected one SQL condition over the columns of citations "
            f"({names})"
        ) from None


@contextmanager
def _sealed() -> Iterator["DuckDBPyConnection"]:
    """Open a DuckDB in memory that reaches nothing but what it is handed."""
    import duckdb

    connection = duckdb.connect(
        ":memory:",
        config={
            "allow_community_extensions": "false",
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            "enable_external_access": "false",
            "python_enable_replacements": "false",
            "threads": "1",
        },
    )
    with connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute("SET lock_configuration = true")
        yield connection
