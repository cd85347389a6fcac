"""The layout `bioc`: BioC in XML or JSON, plain or gzip; one file holds many documents.

Passages are joined by a line break. The offset of a mention is taken relative to that of its
passage, in code points; files in which offsets count bytes or UTF-16 units have mentions that do
not fit the text, which are counted and left out. A mention with several locations is discontinuous.
In XML entities are never expanded, no document type is read, and nothing is fetched.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from lxml import etree

from schemas.errors import RecordError
from training.corpora.layouts.documents import (
    Document,
    GoldMention,
    checked_offset,
    checked_text,
    parsed_offset,
)
from training.corpora.layouts.files import read_bytes
from training.corpora.tsv import Problem
from worker.readers.xml_parser import safe_parser


@dataclass(frozen=True, slots=True)
class _Passage:
    """A passage, or a sentence of one: its offset and text, and mentions at the file's offsets."""

    offset: int
    text: str
    mentions: tuple[GoldMention, ...]


def read_bioc(path: Path) -> Iterator[Document | Problem]:
    """Yield the documents of a BioC file, or a problem in place of each invalid one.

    :raises CorpusError: if it cannot be read.
    """
    content = read_bytes(path)
    begin = content.removeprefix(b"\xef\xbb\xbf").lstrip()[:1]
    try:
        documents: Iterator[Callable[[], tuple[str, list[_Passage]]]]
        if begin == b"<":
            documents = (partial(_xml_passages, one) for one in _xml_documents(content))
        else:
            documents = (partial(_json_passages, one) for one in _json_documents(content))
        for number, read in enumerate(documents, start=1):
            try:
                name, passages = read()
                yield _document(name or str(number), number, passages)
            except RecordError as error:
                yield Problem(path, number, f"document {number}: {error}")
    except (RecordError, etree.XMLSyntaxError, ValueError, RecursionError) as error:
        yield Problem(path, 1, f"not BioC: {error or 'nested too deeply'}")


def _document(name: str, number: int, passages: Iterable[_Passage]) -> Document:
    """Join passages, moving their mentions from the file's offsets to those of the text."""
    text = ""
    mentions: list[GoldMention] = []
    mismatched: list[str] = []
    for passage in passages:
        if text:
            text += "\n"
        shift = len(text) - passage.offset
        for one in passage.mentions:
            moved = tuple((start + shift, end + shift) for start, end in one.spans)
            if all(len(text) <= a <= b <= len(text) + len(passage.text) for a, b in moved):
                mentions.append(GoldMention(moved, one.label, one.text))
            else:
                mismatched.append(f"{one.text!r:.80} lies outside its passage at {passage.offset}")
        text += passage.text
    return Document(name, number, text, tuple(mentions), tuple(mismatched))


def _xml_documents(content: bytes) -> Iterator[etree._Element]:
    root = etree.fromstring(content, safe_parser())
    if root.tag != "collection":
        raise RecordError(f"the root is <{root.tag!s:.40}>; <collection> was expected")
    yield from root.iterchildren("document")


def _xml_passages(document: etree._Element) -> tuple[str, list[_Passage]]:
    entity = next(document.iter(etree.Entity), None)
    if entity is not None:
        raise RecordError(f"it refers to the entity {entity.text!s:.40}, which is not expanded")
    passages = []
    for passage in document.iterchildren("passage"):
        sentences = list(passage.iterchildren("sentence"))
        outer = [_xml_mention(one) for one in passage.iterchildren("annotation")]
        parts = [
            (
                parsed_offset(_strip(part.findtext("offset"))),
                part.findtext("text") or "",
                [_xml_mention(one) for one in part.iterchildren("annotation")],
            )
            for part in (sentences if passage.find("text") is None else [passage])
        ]
        passages += _placed(parts, outer if passage.find("text") is None else [])
    return _strip(document.findtext("id")), passages


def _xml_mention(annotation: etree._Element) -> GoldMention:
    label = next(
        (one.text for one in annotation.iterchildren("infon") if one.get("key") == "type"), None
    )
    return _mention(
        label,
        annotation.findtext("text"),
        [
            (parsed_offset(one.get("offset")), parsed_offset(one.get("length")))
            for one in annotation.iterchildren("location")
        ],
    )


def _json_documents(content: bytes) -> Iterator[dict[str, Any]]:
    try:
        found = json.loads(content)
    except json.JSONDecodeError:
        found = [json.loads(line) for line in content.splitlines() if line.strip()]
    for collection in found if isinstance(found, list) else [found]:
        if not isinstance(collection, dict):
            raise RecordError("a list or an object of documents was expected")
        documents = collection.get("documents", collection.get("PubTator3"))
        if documents is None and "passages" in collection:
            documents = [collection]
        if not isinstance(documents, list) or not all(isinstance(x, dict) for x in documents):
            raise RecordError("an object with a list of documents was expected")
        yield from documents


def _json_passages(document: dict[str, Any]) -> tuple[str, list[_Passage]]:
    passages = []
    for passage in _objects(document, "passages"):
        outer = [_json_mention(one) for one in _objects(passage, "annotations")]
        whole = passage.get("text") is not None
        parts = [
            (
                checked_offset(part.get("offset")),
                checked_text(part.get("text", ""), "the text of a passage"),
                [_json_mention(one) for one in _objects(part, "annotations")],
            )
            for part in ([passage] if whole else _objects(passage, "sentences"))
        ]
        passages += _placed(parts, [] if whole else outer)
    return checked_text(str(document.get("id", "")), "id"), passages


def _objects(value: dict[str, Any], name: str) -> list[dict[str, Any]]:
    found = value.get(name) or []
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise RecordError(f"{name} is no list of objects")
    return found


def _json_mention(annotation: dict[str, Any]) -> GoldMention:
    infons = annotation.get("infons")
    given = annotation.get("text")
    return _mention(
        infons.get("type") if isinstance(infons, dict) else None,
        None if given is None else checked_text(given, "the text of an annotation"),
        [
            (checked_offset(one.get("offset")), checked_offset(one.get("length")))
            for one in _objects(annotation, "locations")
        ],
    )


def _mention(label: object, text: str | None, places: list[tuple[int, int]]) -> GoldMention:
    name = checked_text(label, "the infon 'type' of an annotation")
    if not places:
        raise RecordError(f"the annotation {text!r:.40} has no location")
    return GoldMention(tuple((at, at + length) for at, length in places), name, text)


def _placed(
    parts: list[tuple[int, str, list[GoldMention]]], outer: list[GoldMention]
) -> list[_Passage]:
    """Return parts as passages; each mention of `outer` belongs to the last that begins by it."""
    for mention in outer:
        at = min(start for start, _ in mention.spans)
        within = [part for part in parts if part[0] <= at] or parts[:1]
        if within:
            within[-1][2].append(mention)
    return [_Passage(offset, text, tuple(mentions)) for offset, text, mentions in parts]


def _strip(text: str | None) -> str:
    return (text or "").strip()
