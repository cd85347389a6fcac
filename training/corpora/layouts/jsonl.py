"""The layout `jsonl`: one document a line with its entities beside the text, plain or gzip.

A line is `{"id": …, "text": …, "entities": [{"start": …, "end": …, "type": …}]}`. An entity may
have a `text`, which is verified, and `spans`, a list of pairs, where it is discontinuous.
"""

import json
from collections.abc import Iterator
from pathlib import Path

from schemas.errors import RecordError
from training.corpora.layouts.documents import (
    Document,
    GoldMention,
    checked_offset,
    checked_text,
)
from training.corpora.tsv import Problem
from worker.readers.failures import Failure
from worker.readers.lines import split_lines
from worker.readers.streams import open_decompressed


def read_jsonl(path: Path) -> Iterator[Document | Problem]:
    """Yield the document of each line that is not blank, or a problem."""
    with path.open("rb") as stream:
        for number, line in enumerate(split_lines(open_decompressed(stream)), start=1):
            if isinstance(line, Failure):
                yield Problem(path, number, line.error)
            elif line.strip():
                try:
                    yield _document(json.loads(line), number)
                except (RecordError, ValueError, RecursionError) as error:
                    reason = str(error) or "nested too deeply"
                    yield Problem(path, number, f"not a document with entities: {reason}")


def _document(record: object, line: int) -> Document:
    if not isinstance(record, dict):
        raise RecordError(f"{record!r:.40} is no JSON object")
    text = checked_text(record.get("text"), "text")
    name = record.get("id", line)
    entities = record.get("entities", [])
    if isinstance(name, bool) or not isinstance(name, str | int):
        raise RecordError(f"id is {name!r:.40}; a string was expected")
    if not isinstance(entities, list):
        raise RecordError("entities is no list")
    return Document(checked_text(str(name), "id"), line, text, tuple(map(_mention, entities)))


def _mention(entity: object) -> GoldMention:
    if not isinstance(entity, dict):
        raise RecordError(f"the entity {entity!r:.40} is no JSON object")
    spans = entity.get("spans") or [[entity.get("start"), entity.get("end")]]
    if not isinstance(spans, list) or not all(
        isinstance(one, list) and len(one) == 2 for one in spans
    ):
        raise RecordError("spans is no list of pairs")
    given = entity.get("text")
    return GoldMention(
        tuple((checked_offset(start), checked_offset(end)) for start, end in spans),
        checked_text(entity.get("type"), "type"),
        None if given is None else checked_text(given, "the text of an entity"),
    )
