r"""The layout `brat`: a folder of texts (`.txt`), each with its annotations (`.ann`).

Of the annotations the text-bound ones (`T1<tab>Gene 0 5<tab>BRCA1`) are read; a discontinuous one
has several ranges, `0 5;10 12`. brat cuts a mention at a line break, which is no gap. Offsets are
code points, and every character counts, `\r` too.
"""

from collections.abc import Iterator
from pathlib import Path

from schemas.errors import CorpusError, RecordError
from training.corpora.layouts.documents import Document, GoldMention, parsed_offset
from training.corpora.layouts.files import read_bytes
from training.corpora.tsv import Problem


def read_brat(path: Path) -> Iterator[Document | Problem]:
    """Yield the document of each text in the folder, by name, or a problem.

    :raises CorpusError: if the folder cannot be read.
    """
    for number, file in enumerate(sorted(path.glob("*.txt")), start=1):
        annotations = file.with_suffix(".ann")
        if not annotations.is_file():
            yield Problem(file, 1, f"there is no {annotations.name} beside it")
            continue
        try:
            text = _decoded(file)
            rows = _decoded(annotations).split("\n")
        except (RecordError, CorpusError) as error:
            yield Problem(file, 1, str(error))
            continue
        mentions: list[GoldMention] = []
        problems: list[Problem] = []
        for line, row in enumerate(rows, start=1):
            if not row.startswith("T"):
                continue
            try:
                mentions.append(_mention(row.removesuffix("\r")))
            except RecordError as error:
                problems.append(Problem(annotations, line, str(error)))
        yield from problems
        if not problems:
            yield Document(file.stem, number, text, tuple(mentions))


def _decoded(file: Path) -> str:
    try:
        return read_bytes(file).decode("utf-8")
    except UnicodeDecodeError as error:
        raise RecordError(f"{file.name} is not UTF-8: byte {error.start}") from error


def _mention(row: str) -> GoldMention:
    columns = row.split("\t")
    label, _, places = columns[1].partition(" ") if len(columns) == 3 else ("", "", "")
    if not label or not places:
        raise RecordError(f"{row!r:.60} is no annotation such as 'T1<tab>Gene 0 5<tab>BRCA1'")
    spans = []
    for place in places.split(";"):
        start, _, end = place.partition(" ")
        spans.append((parsed_offset(start), parsed_offset(end)))
    return GoldMention(tuple(spans), label, columns[2])
