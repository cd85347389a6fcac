"""Report files: atomic writing, and the template environment of HTML pages."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from schemas.errors import OutputError
from worker.storage.atomic import written_whole

if TYPE_CHECKING:
    from jinja2 import Environment


def require_writable(path: Path) -> None:
    """Check that `path` can be written, before any expensive work; no file is left behind.

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
def report_file(path: Path) -> Iterator[Path]:
    """Yield a temporary file that replaces `path` on success, and is removed on failure.

    Parent folders are created.

    :raises OutputError: if it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with written_whole(path, shared=True) as temporary:
            yield temporary
    except OSError as error:
        raise OutputError(f"cannot write {str(path)!r}: {error.strerror or error}") from error


def write_text(path: Path, content: str) -> None:
    """Write a file atomically, creating parent folders.

    :raises OutputError: if it cannot be written.
    """
    with report_file(path) as temporary:
        temporary.write_text(content, encoding="utf-8")


DASH = "–"
"""What is shown for an unknown number."""


def percent(value: float | None) -> str:
    """Return a fraction as a percentage; a dash for None."""
    return DASH if value is None else f"{100 * value:.1f}%"


FORMATS: dict[str, Callable[..., str]] = {
    "count": lambda value: f"{value:,}",
    "percent": percent,
    "hundredth": lambda value: f"{100 * value:.2f}",
    "signed": lambda value: f"{100 * value:+.2f}".replace("-", "−"),
}
"""The number formats of pages, as filters of their templates; fractions are shown in per cent."""


def page_environment(*packages: str) -> "Environment":
    """Return the Jinja environment of the templates of `packages`, then of the shared templates.

    Values are escaped, and undefined variables are errors.
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
    environment.filters |= FORMATS
    return environment
