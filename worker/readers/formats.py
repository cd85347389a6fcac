"""Input files as records, each with its offset: a citation, or what is wrong with it."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import BinaryIO, Final, TypeAlias

from schemas.errors import InputError
from schemas.records import Citation, Stage
from worker.readers.failures import Failure
from worker.readers.jsonl import read_jsonl
from worker.readers.pubmed_xml import read_pubmed_xml
from worker.readers.pubtator import read_pubtator
from worker.readers.streams import open_decompressed

READER_VERSION: Final = 2
"""Raised with each change that makes other records, or other texts, of the same bytes.

Files of an output say which version read them; those that say nothing were read by version 1.
"""


class Format(StrEnum):
    """The format of an input file, compressed or not."""

    PUBMED_XML = "pubmed-xml"
    PUBTATOR = "pubtator"
    JSONL = "jsonl"


@dataclass(frozen=True, slots=True)
class ReadRecord:
    """The citation, or tombstone, at one offset of a file or a partition."""

    offset: int
    citation: Citation


@dataclass(frozen=True, slots=True)
class BadRecord:
    """What stands at one offset of a file and gives no citation: why, and its original bytes."""

    offset: int
    stage: Stage
    error_type: str
    error: str
    payload: bytes


Item: TypeAlias = ReadRecord | BadRecord

SUFFIXES: Final = {
    ".xml": Format.PUBMED_XML,
    ".pubtator": Format.PUBTATOR,
    ".pubtator.txt": Format.PUBTATOR,
    ".jsonl": Format.JSONL,
    ".ndjson": Format.JSONL,
}
"""The format of files by the end of their names, without `.gz`."""
_READERS: Final[dict[Format, Callable[[Iterable[bytes]], Iterator[Citation | Failure]]]] = {
    Format.PUBMED_XML: read_pubmed_xml,
    Format.PUBTATOR: read_pubtator,
    Format.JSONL: read_jsonl,
}


def detect_format(name: str) -> Format:
    """Return the format that the end of a file's name says, in upper or lower case.

    :raises InputError: if it says none.
    """
    plain = name.lower().removesuffix(".gz")
    for suffix, found in SUFFIXES.items():
        if plain.endswith(suffix):
            return found
    raise InputError(
        f"{name!r} has no known format: a name that ends in {', '.join(SUFFIXES)}, each also"
        " with .gz behind it, was expected"
    )


def read_records(stream: BinaryIO, format: Format) -> Iterator[Item]:
    """Yield the records of a file in order, at the offsets 0, 1, 2 and so on.

    Gzip is recognised by its first bytes, whatever the file is called. Each PMID of a deletion
    list is one record. What cannot be used comes as a `BadRecord` at its place and stops
    nothing; a file that is cut or corrupt ends with one that holds the bytes behind the last
    whole record. Memory is bounded by the largest record. Errors of `stream` itself are raised.
    """
    for offset, found in enumerate(_READERS[format](open_decompressed(stream))):
        if isinstance(found, Citation):
            yield ReadRecord(offset, found)
        else:
            yield BadRecord(offset, found.stage, found.error_type, found.error, found.payload)
