"""Example sentence of an output with its mentions highlighted, for the summary."""

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.blocks.keys import BlockKey, file_name
from pipelines.blocks.merging import only
from pipelines.output.store import Store
from pipelines.output.writer import damaged

_BOUNDARY = re.compile(r"(?<=[.!?])\s+(?=[A-Z0-9(])|\n")
_SHORTEST, _LONGEST = 40, 260
_BLOCKS_SEARCHED = 3
_ROWS_READ = {"citations": 200, "mentions": 10_000}


class Mark(NamedTuple):
    """A highlighted mention of a sentence: half-open code point range and entity type."""

    start: int
    end: int
    entity_type: str


class Example(NamedTuple):
    """A sentence of a citation, with non-overlapping marks in order."""

    pmid: int
    sentence: str
    marks: tuple[Mark, ...]

    def segments(self) -> list[tuple[str, str | None]]:
        """Split the sentence into segments, each with its entity type or None between mentions."""
        segments: list[tuple[str, str | None]] = []
        at = 0
        for mark in self.marks:
            segments.append((self.sentence[at : mark.start], None))
            segments.append((self.sentence[mark.start : mark.end], mark.entity_type))
            at = mark.end
        segments.append((self.sentence[at:], None))
        return [(text, kind) for text, kind in segments if text]


def find_example(store: Store, blocks: Iterable[BlockKey]) -> Example | None:
    """Return the best example: most entity types, then most mentions, then shortest.

    Only the first citations of the first few `blocks` are searched; None if none has a stored text
    with mentions.
    """
    best: tuple[tuple[int, int, int], Example] | None = None
    for key in sorted(blocks)[:_BLOCKS_SEARCHED]:
        citations = _first_rows(store, "citations", key, ["offset", "pmid", "text"])
        columns = ["offset", "start", "end", "entity_type", "preferred"]
        mentions = _first_rows(store, "mentions", key, columns)
        if citations is None or mentions is None:
            continue
        marks: dict[int, list[Mark]] = {}
        mentions = only(mentions, citations["offset"])
        for row in mentions.to_pylist():
            if row["preferred"]:
                mark = Mark(row["start"], row["end"], row["entity_type"])
                marks.setdefault(row["offset"], []).append(mark)
        for row in citations.to_pylist():
            if not row["text"] or row["offset"] not in marks:
                continue
            for example in _sentences(row["pmid"], row["text"], marks[row["offset"]]):
                value = _value(example)
                if best is None or value > best[0]:
                    best = (value, example)
    return None if best is None else best[1]


def _first_rows(store: Store, kind: str, key: BlockKey, columns: list[str]) -> pa.Table | None:
    """Return some columns of the first rows of a block's file; None if there is none.

    :raises OutputError: if it is damaged.
    """
    name = file_name(key)
    stream = store.open(kind, name)
    if stream is None:
        return None
    with stream:
        try:
            rows = _ROWS_READ[kind]
            file = pq.ParquetFile(stream)
            batch = next(file.iter_batches(rows, columns=columns), None)
        except (pa.ArrowException, OSError, KeyError) as error:
            raise damaged(kind, name, error) from error
    return None if batch is None else pa.Table.from_batches([batch])


def _sentences(pmid: int, text: str, marks: Sequence[Mark]) -> list[Example]:
    bounds = [0, *(x for match in _BOUNDARY.finditer(text) for x in match.span()), len(text)]
    found = []
    for start, end in zip(bounds[::2], bounds[1::2], strict=True):
        inside = _apart([mark for mark in marks if start <= mark.start and mark.end <= end])
        if inside and _SHORTEST <= end - start <= _LONGEST:
            moved = tuple(Mark(m.start - start, m.end - start, m.entity_type) for m in inside)
            found.append(Example(pmid, text[start:end], moved))
    return found


def _apart(marks: Sequence[Mark]) -> list[Mark]:
    """Return the marks without overlaps, keeping the longest, or the first of equal length."""
    kept: list[Mark] = []
    for mark in sorted(marks, key=lambda mark: (mark.start - mark.end, mark.start)):
        if all(mark.end <= other.start or other.end <= mark.start for other in kept):
            kept.append(mark)
    return sorted(kept)


def _value(example: Example) -> tuple[int, int, int]:
    kinds = {mark.entity_type for mark in example.marks}
    return len(kinds), min(len(example.marks), 4), -len(example.sentence)
