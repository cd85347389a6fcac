"""The canary's citations: a sample spread over files of recent citations."""

import glob
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from schemas.errors import InputError
from worker.cli.input_files import files_below, regular_file
from worker.readers.formats import ReadRecord, detect_format, read_records

_Item = TypeVar("_Item")


@dataclass(frozen=True, slots=True)
class CanaryCitation:
    """A sampled citation: its PMID, its file and its text."""

    pmid: int
    source: str
    text: str


@dataclass(frozen=True, slots=True)
class CanarySample:
    """The sampled citations; `left_out` counts records that could not be read."""

    citations: tuple[CanaryCitation, ...] = ()
    files: tuple[str, ...] = ()
    left_out: int = 0


def read_sample(patterns: Sequence[str], limit: int) -> CanarySample:
    """Draw at most `limit` citations with text from the files, folders and globs `patterns`.

    Each file contributes equally, with evenly spaced citations; larger files make up for small
    ones. Of a PMID that was drawn twice the last version is used. The sample is deterministic.

    :raises InputError: if a pattern matches no file of a known format, a file cannot be read, or
        none has a citation with text.
    """
    paths = _files(patterns)
    drawn: list[list[CanaryCitation]] = []
    left_out = 0
    for path in paths:
        thinned = _Thinned(limit)
        for found in _read(path):
            if found is None:
                left_out += 1
            else:
                thinned.add(found)
        drawn.append(thinned.kept)
    quotas = share_out([len(kept) for kept in drawn], limit)
    citations = {
        one.pmid: one
        for kept, quota in zip(drawn, quotas, strict=True)
        for one in evenly(kept, quota)
    }
    if patterns and not citations:
        raise InputError(
            f"--canary {', '.join(patterns)} has no citation with text ({left_out} records could "
            "not be read); name files of recent citations: PubMed XML, PubTator or JSONL"
        )
    return CanarySample(tuple(citations.values()), tuple(str(path) for path in paths), left_out)


def share_out(sizes: Sequence[int], limit: int) -> list[int]:
    """Return the quota of each of `sizes`, at most `limit` in all, as equal as possible."""
    quotas = [0] * len(sizes)
    left = limit
    order = sorted(range(len(sizes)), key=lambda index: (sizes[index], index))
    for done, index in enumerate(order):
        quotas[index] = min(sizes[index], left // (len(order) - done))
        left -= quotas[index]
    return quotas


def evenly(items: Sequence[_Item], count: int) -> list[_Item]:
    """Return `count` evenly spaced `items`, in order."""
    return [items[number * len(items) // count] for number in range(count)]


class _Thinned:
    """Keeps up to twice `limit` evenly spaced items of a stream of unknown length."""

    def __init__(self, limit: int) -> None:
        self.kept: list[CanaryCitation] = []
        self._most = 2 * limit
        self._step = 1
        self._seen = 0

    def add(self, item: CanaryCitation) -> None:
        if self._seen % self._step == 0:
            self.kept.append(item)
            if len(self.kept) > self._most:
                self.kept = self.kept[::2]
                self._step *= 2
        self._seen += 1


def _files(patterns: Sequence[str]) -> list[Path]:
    out: dict[Path, None] = {}
    for pattern in patterns:
        path = regular_file(pattern).expanduser()
        if path.is_dir():
            found = sorted(child for child in files_below(path) if _is_known(child))
        elif path.exists():
            found = [path]
        else:
            found = sorted(Path(name) for name in glob.glob(str(path)))  # noqa: PTH207
        if not found:
            raise InputError(
                f"--canary {pattern!r} names no file; expected PubMed XML, PubTator or JSONL "
                "files, a folder of them, or a glob"
            )
        out.update(dict.fromkeys(found))
    return list(out)


def _is_known(path: Path) -> bool:
    try:
        detect_format(path.name)
    except InputError:
        return False
    return path.is_file()


def _read(path: Path) -> Iterator[CanaryCitation | None]:
    """Yield the citations with text of a file; None for each unreadable record."""
    format_ = detect_format(path.name)
    try:
        with path.open("rb") as stream:
            for item in read_records(stream, format_):
                if not isinstance(item, ReadRecord):
                    yield None
                elif text := item.citation.text:
                    yield (
                        CanaryCitation(item.citation.pmid, path.name, text)
                        if _is_unicode(text)
                        else None
                    )
    except OSError as error:
        raise InputError(
            f"--canary {str(path)!r} cannot be read: {error.strerror or error}"
        ) from error


def _is_unicode(text: str) -> bool:
    """Whether `text` has no lone surrogate, which taggers reject."""
    return text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text)
