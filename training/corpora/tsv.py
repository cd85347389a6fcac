"""Word-and-tag files: a word, a tab and a tag on each line, a blank line after each sentence.

A `-DOCSTART-` line, a sentence of its own in the file, starts a document and is not returned as a
sentence. Windows line ends, a byte order mark and a missing last newline are accepted.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from schemas.errors import CorpusError
from training.corpora.schemes import Scheme, detect_scheme, tag_problems, to_iobes

DOCUMENT_START = "-DOCSTART-"
EMPTY = "no sentence: the file is empty"
"""The error text for a file without sentences."""


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence of a corpus: its words, their IOBES tags, and its first line in the file.

    `starts_document` is True if a `-DOCSTART-` line precedes it. `document` is the name of the
    document that it was cut from; empty in a file of words and tags.
    """

    words: tuple[str, ...]
    tags: tuple[str, ...]
    line: int
    starts_document: bool = False
    document: str = ""

    def line_of(self, word: int) -> int:
        """Return the line of the word with the index `word`: that of the document if it has one."""
        return self.line if self.document else self.line + word


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem in a corpus file: the file, its line (1-based) and the reason."""

    path: Path
    line: int
    reason: str

    def __str__(self) -> str:
        return f"{self.path}, line {self.line}: {self.reason}"


@dataclass(frozen=True, slots=True)
class _Row:
    """One word line: its number, word and tag as written."""

    line: int
    word: str
    tag: str


def _lines(path: Path) -> Iterator[tuple[int, str | Problem]]:
    """Yield each line, numbered from 1, without its line end; a Problem if it is not UTF-8."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CorpusError(
            f"{path}: cannot be read ({error.strerror}); expected a corpus file of words and tags"
        ) from error
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        yield (
            1,
            Problem(
                path, 1, "not UTF-8 but UTF-16: convert the file with iconv -f UTF-16 -t UTF-8"
            ),
        )
        return
    rows = content.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    if rows[-1] == b"":
        rows.pop()
    for number, row in enumerate(rows, start=1):
        try:
            yield number, row.removesuffix(b"\r").decode("utf-8")
        except UnicodeDecodeError as error:
            yield (
                number,
                Problem(path, number, f"not UTF-8: byte {error.object[error.start]:#04x}"),
            )


def _parse_row(path: Path, number: int, line: str) -> _Row | Problem:
    columns = line.split("\t")
    if len(columns) < 2:
        return Problem(path, number, f"no tab: expected a word, a tab and a tag, got {line!r:.80}")
    if len(columns) > 2:
        return Problem(path, number, f"{len(columns)} columns: expected a word and a tag")
    word, tag = columns
    if not word.strip():
        return Problem(path, number, "empty word")
    if not tag:
        return Problem(path, number, f"no tag after the word {word!r:.80}")
    if tag != tag.strip():
        return Problem(path, number, f"a blank before or after the tag {tag!r:.80}")
    return _Row(number, word, tag)


def _blocks(path: Path) -> Iterator[list[_Row | Problem]]:
    """Yield the lines between blank lines, never empty."""
    block: list[_Row | Problem] = []
    for number, line in _lines(path):
        if isinstance(line, Problem):
            block.append(line)
        elif line:
            block.append(_parse_row(path, number, line))
        elif block:
            yield block
            block = []
    if block:
        yield block


def scan(
    path: Path, scheme: Scheme, labels: Sequence[str] | None = None
) -> Iterator[Sentence | Problem]:
    """Yield the valid sentences of `path`, and a problem in place of each invalid one.

    :raises CorpusError: if the file cannot be read at all.
    """
    starts_document = False
    for block in _blocks(path):
        problems = [row for row in block if isinstance(row, Problem)]
        rows = [row for row in block if isinstance(row, _Row)]
        if not problems and rows[0].word == DOCUMENT_START:
            starts_document = True
            rows = rows[1:]
            if not rows:
                continue
        tags = tuple(row.tag for row in rows)
        if not problems:
            problems = [
                Problem(path, rows[min(found.index, len(rows) - 1)].line, found.reason)
                for found in tag_problems(tags, scheme, labels)
            ]
        if problems:
            yield from problems
        else:
            words = tuple(row.word for row in rows)
            yield Sentence(words, to_iobes(tags, scheme), rows[0].line, starts_document)
        starts_document = False


def read_sentences(
    path: Path, scheme: Scheme, labels: Sequence[str] | None = None
) -> Iterator[Sentence]:
    """Yield the sentences of `path` with IOBES tags, converted from `scheme`.

    `labels` are the labels that may occur; None accepts any.

    :raises CorpusError: at the first problem; it names file, line and reason.
    """
    for found in scan(path, scheme, labels):
        if isinstance(found, Problem):
            raise CorpusError(str(found))
        yield found


def detect_file_scheme(*paths: Path) -> Scheme:
    """Detect the tag scheme of the files of a corpus from all their tags.

    :raises CorpusError: if one cannot be read.
    """
    return detect_scheme(
        [row.tag for row in block if isinstance(row, _Row) and row.word != DOCUMENT_START]
        for path in paths
        for block in _blocks(path)
    )
