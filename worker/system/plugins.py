"""Objects that other installed packages add, by entry points."""

from importlib.metadata import EntryPoint
from typing import Any

from schemas.errors import PubnerError

REMEDY = "repair or uninstall its package"


def load_plugin(entry: EntryPoint, error: type[PubnerError]) -> Any:  # noqa: ANN401
    """Return the object that an entry point names.

    :raises PubnerError: of the class `error`, if it cannot be imported.
    """
    try:
        return entry.load()
    except Exception as failure:  # a package's own code
        reason = " ".join(f"{type(failure).__name__}: {failure}".split())
        raise error(f"{described(entry)} cannot be loaded: {reason}; {REMEDY}") from failure


def described(entry: EntryPoint) -> str:
    """Return how errors call an entry point."""
    return f"{entry.name!r} (entry point {entry.value!r} of {entry.group})"
