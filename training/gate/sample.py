"""The canary's citations: a fixed number of them, spread over files of recent ones."""

import glob
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from schemas.errors import InputError
from worker.cli.input_files import files_below, regular_file
from worker.readers.formats import ReadRecord, detect_format, read_records


@dataclass(frozen=True, slots=True)
class CanaryCitation:
    """A citation to read: its PMID, the file it is from, and its text."""

    pmid: int
    source: str
    text: str


@dataclass(frozen=True, slots=True)
class CanarySample:
    """What was drawn from the files; `left_out` counts records that could not be read."""

    citations: tuple[CanaryCitation, ...] = ()
    files: tuple[str, ...] = ()
    left_out: int = 0


def read_sample(words: Sequence[str], limit: int) -> CanarySample:
    """Draw at most `limit` citations with text from the files, folders and globs `words`.

    Each file gives an equal part, at even distances from its begin to its end; what a small file
    lacks, larger ones give. Of a PMID that was drawn twice the last version is taken. The same
    files give the same citations.

    :raises InputError: if a word names no file of a known format, one cannot be read, or none has
        a citation with text.
    """
    paths = _files(words)
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
    if words and not citations:
        raise InputError(
            f"--canary {', '.join(words)} has no citation with text ({left_out} records could not "
            "be read); name files of recent citations: PubMed XML, PubTator or JSONL"
        )
    return CanarySample(tuple(citations.values()), tuple(str(path) for path in paths), left_out)


def share_out(sizes: Sequence[int], limit: int) -> list[int]:
    """Return how many each of `sizes` gives, `limit` in all at most: as equal as they can be."""
    quotas = [0] * len(sizes)
    left = limit
    order = sorted(range(len(sizes)), key=lambda index: (sizes[index], index))
    for done, index in enumerate(order):
        quotas[index] = min(sizes[index], left // (len(order) - done))
        left -= quotas[index]
    return quotas


def evenly(items: Sequence[CanaryCitation], count: int) -> list[CanaryCitation]:
    """Return `count` of `items` at even distances, in order."""
    return [items[number * len(items) // count] for number in range(count)]


class _Thinned:
    """Keeps up to twice `limit` items of a stream of unknown length, at even distances."""

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


def _files(words: Sequence[str]) -> list[Path]:
    out: dict[Path, None] = {}
    for word in words:
        path = regular_file(word).expanduser()
        if path.is_dir():
            found = sorted(child for child in files_below(path) if _is_known(child))
        elif path.exists():
            found = [path]
        else:
            found = sorted(Path(name) for name in glob.glob(str(path)))  # noqa: PTH207
        if not found:
            raise InputError(
                f"--canary {word!r} names no file; expected PubMed XML, PubTator or JSONL files, "
                "a folder of them, or a glob"
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
    """Yield the citations with text that a file has; None for what cannot be read."""
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
    """Whether no lone surrogate is in `text`, which no tagger reads."""
    return text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text)
