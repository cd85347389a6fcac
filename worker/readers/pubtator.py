r"""Reader of PubTator files, as citations or as gold documents.

A document is a block of lines that ends at a blank line: `PMID|t|title`, `PMID|a|abstract`, and any
number of tab-separated annotations: `PMID start end mention type [identifier [parts]]`, or a
relation such as `PMID CID identifier identifier`. Offsets count code points of the title, one
separator and the abstract; so they are offsets into a citation's text too. Title and abstract
are kept unchanged, including leading and trailing white space.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import BinaryIO

from schemas.errors import CorpusError, RecordError
from schemas.records import Citation, Section, Span
from worker.readers.failures import (
    MAX_RECORD_BYTES,
    Failure,
    oversize_failure,
    parse_failure,
    parse_record,
)
from worker.readers.fields import checked_pmid
from worker.readers.lines import split_lines
from worker.readers.streams import open_decompressed

_TEXT_LINE = re.compile(r"([^|\t]*)\|([ta])\|(.*)", re.DOTALL)
_JOINED_LINES = 4096
_MAX_LINES = 200_000
_NUMBER = re.compile(r"-?[0-9]+")


@dataclass(frozen=True, slots=True)
class GoldDocument:
    """A document with its gold mentions as spans of `text`, labelled with the corpus's types.

    `problems` has one message for each invalid annotation, which is left out of `spans`.
    """

    pmid: int
    title: str
    abstract: str
    spans: tuple[Span, ...]
    problems: tuple[str, ...]

    @property
    def text(self) -> str:
        """Title, one newline, abstract, as in `Citation.text`."""
        return f"{self.title}\n{self.abstract}"


@dataclass(frozen=True, slots=True)
class _Document:
    pmid: int
    title: str
    abstract: str
    annotations: tuple[tuple[str, ...], ...]


def read_pubtator(
    chunks: Iterable[bytes], *, max_record_bytes: int = MAX_RECORD_BYTES
) -> Iterator[Citation | Failure]:
    """Yield the citation or failure of each block of lines, in order. Annotations are ignored."""
    for block in _blocks(chunks, max_record_bytes):
        if isinstance(block, Failure):
            yield block
            continue
        yield parse_record(partial(_citation, block), block)


def read_gold(stream: BinaryIO) -> Iterator[GoldDocument]:
    """Yield the documents of a PubTator file, plain or gzip, with their annotations validated.

    An annotation outside the text, or whose mention differs from the text at its offsets, is
    reported in `problems` instead of `spans`.

    :raises CorpusError: if a document cannot be read at all, with its number and the reason.
    """
    for number, block in enumerate(_blocks(open_decompressed(stream), MAX_RECORD_BYTES), start=1):
        if isinstance(block, Failure):
            raise CorpusError(f"document {number}: {block.error}")
        found = parse_record(partial(_gold, block), block)
        if isinstance(found, Failure):
            raise CorpusError(f"document {number}: {found.error}")
        yield found


def _blocks(chunks: Iterable[bytes], limit: int) -> Iterator[bytes | Failure]:
    """Yield each block of consecutive non-blank lines, joined by line feeds."""
    lines: list[bytes] = []
    size = count = 0
    failure: Failure | None = None  # the failure of a block with a truncated or too long line
    for line in split_lines(chunks, max_line_bytes=limit):
        if isinstance(line, Failure):
            payload = b"\n".join([*lines, line.payload])[:limit]
            failure = failure or Failure(line.stage, line.error_type, line.error, payload)
        elif line and not line.isspace():
            if size <= limit:
                lines.append(line)
            size += len(line) + 1
            count += 1
            if len(lines) == _JOINED_LINES:
                lines = [
                    b"\n".join(lines)
                ]  # otherwise millions of short lines take many times their size
        elif lines or failure:
            yield failure or _block(lines, size, count, limit)
            lines, size, count, failure = [], 0, 0, None
    if lines or failure:
        yield failure or _block(lines, size, count, limit)


def _block(lines: Sequence[bytes], size: int, count: int, limit: int) -> bytes | Failure:
    block = b"\n".join(lines)
    if size > limit:
        return oversize_failure(block, limit, size)
    if count > _MAX_LINES:
        error = f"the document has {count} lines; at most {_MAX_LINES} were expected"
        return parse_failure(RecordError(error), block)
    return block


def _parse(block: bytes) -> _Document:
    try:
        lines = block.decode("utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise RecordError(
            f"the document is not UTF-8: {error.reason} at byte {error.start}"
        ) from error
    texts: dict[str, str] = {}
    annotations: list[tuple[str, ...]] = []
    name: str | None = None
    for line in lines:
        match = _TEXT_LINE.fullmatch(line)
        columns = () if match else tuple(line.split("\t"))
        if match is None and len(columns) < 4:
            raise RecordError(
                f"the line {line[:60]!r} is not a title (PMID|t|...), abstract (PMID|a|...) or"
                " tab-separated annotation"
            )
        found = match[1] if match else columns[0]
        name = found if name is None else name
        if found != name:
            raise RecordError(
                f"the document of {name[:20]!r} holds a line of {found[:20]!r};"
                " a blank line ends a document"
            )
        if match is None:
            annotations.append(columns)
        elif match[2] in texts:
            raise RecordError(f"the document has two lines {name[:20]}|{match[2]}|")
        else:
            texts[match[2]] = match[3]
    pmid = checked_pmid(name or "")
    if "t" not in texts:
        raise RecordError(f"the document has no title: no line {pmid}|t|")
    return _Document(pmid, texts["t"], texts.get("a", ""), tuple(annotations))


def _citation(block: bytes) -> Citation:
    document = _parse(block)
    abstract = (Section(document.abstract),) if document.abstract else ()
    return Citation(document.pmid, title=document.title, abstract=abstract)


def _gold(block: bytes) -> GoldDocument:
    document = _parse(block)
    # Mentions across the separator are written with a space in it.
    text = f"{document.title} {document.abstract}"
    spans: list[Span] = []
    problems: list[str] = []
    for columns in document.annotations:
        if not _NUMBER.fullmatch(columns[1]):
            continue  # a relation
        problem = _problem(columns, text)
        if problem is None:
            spans.append(Span(int(columns[1]), int(columns[2]), columns[4]))
        else:
            problems.append(f"{document.pmid}: {problem}")
    return GoldDocument(
        document.pmid, document.title, document.abstract, tuple(spans), tuple(problems)
    )


def _problem(columns: Sequence[str], text: str) -> str | None:
    """Return why an annotation of `text` is invalid, or None if it is valid."""
    if len(columns) < 5 or not _NUMBER.fullmatch(columns[2]):
        return f"the annotation {' '.join(columns)[:80]!r} lacks an end, a mention or a type"
    start, end, mention = int(columns[1]), int(columns[2]), columns[3]
    if not 0 <= start < end <= len(text):
        return f"{mention!r} has the offsets {start}-{end}, outside the {len(text)} characters"
    if text[start:end] != mention.replace("\n", " "):
        return f"{mention!r} has the offsets {start}-{end}, where the text is {text[start:end]!r}"
    return None
