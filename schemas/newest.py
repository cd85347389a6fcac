"""The SQL query that selects the current version of each citation in an output."""

from importlib.resources import files

NEWEST_FILE = "newest.sql"


def newest_sql() -> str:
    """Return the SQL that makes the view `newest_citations` over the table or view `citations`.

    The comment at the top of the SQL, which is the file `schemas/newest.sql`, explains the rules
    and the use of the view.
    """
    return files("schemas").joinpath(NEWEST_FILE).read_text(encoding="utf-8")
