"""Reports as files: put in place whole, and the HTML ones made from templates."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from schemas.errors import OutputError

if TYPE_CHECKING:
    from jinja2 import Environment


def require_writable(path: Path) -> None:
    """Make sure that a file can be put at `path`, before work is done for it. Nothing is left.

    :raises OutputError: if it cannot.
    """
    if path.is_dir():
        raise OutputError(f"cannot write {str(path)!r}: it is a folder; name a file in it")
    folder = path.absolute().parent
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OutputError(
            f"cannot write {str(path)!r}: {folder}: {error.strerror or error}; "
            "name a file in a folder that can be written"
        ) from error


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Give a temporary file to write; it takes the place of `path` at the end, or goes.

    Parent folders are made.

    :raises OutputError: if it cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"cannot write {str(path)!r}: {error.strerror or error}") from error


def write_text(path: Path, content: str) -> None:
    """Write a file whole or not at all; parent folders are made.

    :raises OutputError: if it cannot be written.
    """
    with written_whole(path) as temporary:
        temporary.write_text(content, encoding="utf-8")


def page_environment(*packages: str) -> "Environment":
    """Return what renders the templates of `packages`, the first that has one, then of all pages.

    All that is put into them is escaped, and what is not there is an error.
    """
    from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=ChoiceLoader(
            [PackageLoader(package, "templates") for package in (*packages, "training.reports")]
        ),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["count"] = lambda value: f"{value:,}"
    return environment
