"""Folders, files and URLs as a user gives them."""

import os
from pathlib import Path

from schemas.errors import SettingsError

_FILE = "file://"


def is_local(place: str) -> bool:
    """Whether `place` lies on this machine's own file system."""
    return "://" not in place or place.startswith(_FILE)


def absolute(place: str) -> str:
    """Return a folder or file by its whole path, a URL of another kind as it is.

    What leaves this process (a job server, another process, a worker with another working folder)
    must mean the same there. `~` at its begin is a home, `file://` is left out; `..` and symbolic
    links stay, and so do the wildcards of a glob.

    :raises SettingsError: if there is no such home.
    """
    if not is_local(place):
        return place
    path = place.removeprefix(_FILE)
    if place != path and path.startswith("localhost/"):
        path = path.removeprefix("localhost")
    if path.startswith("~"):
        try:
            path = str(Path(path).expanduser())
        except RuntimeError as error:
            raise SettingsError(
                f"cannot open {place!r}: {error}; give the whole path, or ./{path} where that is "
                "its name"
            ) from error
    return os.path.join(os.getcwd(), path)  # noqa: PTH109, PTH118 - `Path` would drop a last slash
