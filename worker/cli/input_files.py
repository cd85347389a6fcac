"""Input files named on the command line: regular files, folders and globs."""

import os
import re
import stat
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

from schemas.errors import InputError
from worker.storage.locations import masked

STANDARD_INPUT: Final = "-"
_WEB = re.compile(r"(https?|ftps?):/{1,2}", re.IGNORECASE)
_MAGIC = re.compile(r"[*?\[]")
_KINDS: Final = {
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def regular_file(argument: str) -> Path:
    """Return the path named by `argument`: a regular file, a folder, or a path without a file.

    A regular file that is given as standard input or under `/dev` or `/proc` is returned under its
    real path.

    :raises InputError: if it is a pipe, a socket, a device, or a web address.
    """
    if _WEB.match(argument):
        shown = masked(_WEB.sub(r"\1://", argument, count=1))
        raise InputError(
            f"{shown!r} is a web address, and input is not read from the web; download the file "
            "first, with curl -O for example, and give its name"
        )
    path = Path("/dev/stdin" if argument == STANDARD_INPUT else argument)
    kind = irregular_kind(path)
    if kind is not None:
        raise InputError(
            f"{argument!r} is {kind}; inputs are read more than once (for a digest, and again when "
            "a run is resumed), so write it to a file first, and give the file's name"
        )
    if path.is_relative_to("/dev") or path.is_relative_to("/proc"):
        real = Path(os.path.realpath(path))
        if not real.exists():
            raise InputError(
                f"{argument!r} is a file without a name; write it to a named file first, and give "
                "its name"
            )
        return real
    return path


def irregular_kind(path: Path) -> str | None:
    """Return what kind of special file `path` is, as text; None for a regular file or folder."""
    try:
        return _KINDS.get(stat.S_IFMT(path.stat().st_mode))
    except (OSError, ValueError):
        return None


def files_below(folder: Path) -> Iterator[Path]:
    """Yield every non-folder entry of `folder` and its subfolders, sorted within each.

    Hidden files and folders are skipped. Links to folders are followed; each folder is read once.

    :raises InputError: if a folder cannot be listed.
    """
    for current in folders_from(folder):
        yield from (x for x in _entries(current) if not x.is_dir())


def folders_from(folder: Path) -> Iterator[Path]:
    """Yield `folder` and its subfolders, each once even if linked twice, without hidden ones.

    :raises InputError: if a folder cannot be listed.
    """
    seen: set[tuple[int, int]] = set()
    waiting = [folder]
    while waiting:
        current = waiting.pop()
        try:
            found = current.stat()
        except OSError as error:
            raise _unlisted(current, error) from error
        if (found.st_dev, found.st_ino) in seen:
            continue
        seen.add((found.st_dev, found.st_ino))
        yield current
        waiting += reversed([x for x in _entries(current) if x.is_dir()])


def matches_of(pattern: str) -> Iterator[Path]:
    """Yield the paths that match a glob, sorted within each folder; `**` is any depth of folders.

    Hidden entries match only a component that begins with a dot.

    :raises InputError: if a folder cannot be listed.
    """
    path = Path(pattern)
    start = Path(path.anchor) if path.anchor else Path()
    yield from _matching(start, path.parts[1:] if path.anchor else path.parts)


def _matching(current: Path, parts: Sequence[str]) -> Iterator[Path]:
    if not parts:
        yield current
        return
    part, *rest = parts
    if part == "**":
        for folder in folders_from(current) if current.is_dir() else ():
            yield from _matching(folder, rest or ["*"])
    elif not _MAGIC.search(part):
        if os.path.lexists(current / part):
            yield from _matching(current / part, rest)
    elif current.is_dir():
        for found in _entries(current, hidden=part.startswith(".")):
            if fnmatchcase(found.name, part) and (not rest or found.is_dir()):
                yield from _matching(found, rest)


def _entries(folder: Path, *, hidden: bool = False) -> list[Path]:
    try:
        return sorted(x for x in folder.iterdir() if hidden or not x.name.startswith("."))
    except OSError as error:
        raise _unlisted(folder, error) from error


def _unlisted(folder: Path, error: OSError) -> InputError:
    return InputError(
        f"cannot list the folder {str(folder)!r}: {error.strerror or error}; make it readable, or "
        "give other inputs"
    )
