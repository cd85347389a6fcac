"""The layout `pubtator`: title and abstract with annotations; see `worker.readers.pubtator`."""

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

from schemas.errors import CorpusError
from training.corpora.layouts.documents import Document, GoldMention
from training.corpora.layouts.files import read_bytes
from training.corpora.tsv import Problem
from worker.readers.pubtator import GoldDocument, read_gold


def read_pubtator(path: Path) -> Iterator[Document | Problem]:
    """Yield the documents of a PubTator file, plain or gzip, or a problem in place of the rest.

    :raises CorpusError: if it cannot be read.
    """
    content = read_bytes(path)
    lines = _first_lines(content)
    try:
        for line, found in zip(lines, read_gold(BytesIO(content)), strict=False):
            yield _document(found, line)
    except CorpusError as error:
        yield Problem(path, 1, str(error))


def _first_lines(content: bytes) -> list[int]:
    """Return the number of the first line of each document."""
    blank = True
    out = []
    for number, line in enumerate(content.split(b"\n"), start=1):
        begins = not blank
        blank = not line.strip()
        if not blank and not begins:
            out.append(number)
    return out


def _document(found: GoldDocument, line: int) -> Document:
    mentions = tuple(GoldMention(((s.start, s.end),), s.label) for s in found.spans)
    problems = tuple(problem.partition(": ")[2] for problem in found.problems)
    return Document(str(found.pmid), line, found.text, mentions, problems)
