"""The query that finds, among all versions of citations in an output, those that count now."""

from importlib.resources import files

NEWEST_FILE = "newest.sql"


def newest_sql() -> str:
    """Return the SQL that makes the view `newest_citations` over the table or view `citations`.

    What the view decides, and how to use it, is said at the top of the text, which is also the file
    `schemas/newest.sql`.
    """
    return files("schemas").joinpath(NEWEST_FILE).read_text(encoding="utf-8")
