"""Which files a word of the command line names: what may be read at all, folders and globs."""

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


def regular_file(word: str) -> Path:
    """Return the path that `word` names: of a regular file, a folder, or of nothing that exists.

    A regular file that is given as standard input or under `/dev` or `/proc` gets its own name.

    :raises InputError: if it is a pipe, a socket, a device, or an address of the web.
    """
    if _WEB.match(word):
        shown = masked(_WEB.sub(r"\1://", word, count=1))
        raise InputError(
            f"{shown!r} is an address of the web, from which nothing is read; download the file "
            "first, with curl -O for example, and give its name"
        )
    path = Path("/dev/stdin" if word == STANDARD_INPUT else word)
    kind = irregular_kind(path)
    if kind is not None:
        raise InputError(
            f"{word!r} is {kind}; inputs are read more than once (for a digest, and again when a "
            "run goes on), so write it to a file first, and give the file's name"
        )
    if path.is_relative_to("/dev") or path.is_relative_to("/proc"):
        real = Path(os.path.realpath(path))
        if not real.exists():
            raise InputError(
                f"{word!r} is a file without a name; write it to a file first, and give its name"
            )
        return real
    return path


def irregular_kind(path: Path) -> str | None:
    """Return in words what `path` is, if it is neither a file nor a folder; None where it is."""
    try:
        return _KINDS.get(stat.S_IFMT(path.stat().st_mode))
    except (OSError, ValueError):
        return None


def files_below(folder: Path) -> Iterator[Path]:
    """Yield all that is no folder in `folder` and in the folders below it, sorted within each.

    Hidden files and folders are left out. Links to folders are followed, each folder once.

    :raises InputError: if a folder cannot be listed.
    """
    for place in folders_from(folder):
        yield from (x for x in _entries(place) if not x.is_dir())


def folders_from(folder: Path) -> Iterator[Path]:
    """Yield `folder` and those below it, each once whatever links lead to it, hidden ones not.

    :raises InputError: if a folder cannot be listed.
    """
    seen: set[tuple[int, int]] = set()
    waiting = [folder]
    while waiting:
        place = waiting.pop()
        try:
            found = place.stat()
        except OSError as error:
            raise _unlisted(place, error) from error
        if (found.st_dev, found.st_ino) in seen:
            continue
        seen.add((found.st_dev, found.st_ino))
        yield place
        waiting += reversed([x for x in _entries(place) if x.is_dir()])


def matches_of(pattern: str) -> Iterator[Path]:
    """Yield what a glob matches, sorted within each folder; `**` is any number of folders.

    What is hidden is matched only by a part that begins with a dot.

    :raises InputError: if a folder cannot be listed.
    """
    path = Path(pattern)
    start = Path(path.anchor) if path.anchor else Path()
    yield from _matching(start, path.parts[1:] if path.anchor else path.parts)


def _matching(place: Path, parts: Sequence[str]) -> Iterator[Path]:
    if not parts:
        yield place
        return
    part, *rest = parts
    if part == "**":
        for folder in folders_from(place) if place.is_dir() else ():
            yield from _matching(folder, rest or ["*"])
    elif not _MAGIC.search(part):
        if os.path.lexists(place / part):
            yield from _matching(place / part, rest)
    elif place.is_dir():
        for found in _entries(place, hidden=part.startswith(".")):
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
