"""Input formats: detection by file name, and reading as a sequence of records with offsets."""

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
"""Incremented with each change that gives other records, or other texts, for the same bytes.

Output files record the version that read their input; those that do not were read by version 1.
"""


class Format(StrEnum):
    """The format of an input file, compressed or not."""

    PUBMED_XML = "pubmed-xml"
    PUBTATOR = "pubtator"
    JSONL = "jsonl"


@dataclass(frozen=True, slots=True)
class SourceMessage:
    """The key, value and headers of a Kafka message, as they were consumed."""

    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...] = ()


@dataclass(frozen=True, slots=True)
class ReadRecord:
    """A successfully read record: the citation, or tombstone, at one offset of its source.

    `message` is the Kafka message that it was read from, for a dead letter of a later stage.
    """

    offset: int
    citation: Citation
    message: SourceMessage | None = None


@dataclass(frozen=True, slots=True)
class BadRecord:
    """A record at one offset of a file that gives no citation: the reason, and its bytes."""

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
"""The format of each file name suffix, without `.gz`."""
_READERS: Final[dict[Format, Callable[[Iterable[bytes]], Iterator[Citation | Failure]]]] = {
    Format.PUBMED_XML: read_pubmed_xml,
    Format.PUBTATOR: read_pubtator,
    Format.JSONL: read_jsonl,
}


def detect_format(name: str) -> Format:
    """Return the format of a file by the suffix of its name, ignoring letter case.

    :raises InputError: if the suffix is unknown.
    """
    plain = name.lower().removesuffix(".gz")
    for suffix, found in SUFFIXES.items():
        if plain.endswith(suffix):
            return found
    raise InputError(
        f"{name!r} has no known format: a name that ends in {', '.join(SUFFIXES)}, each also"
        " followed by .gz, was expected"
    )


def read_records(stream: BinaryIO, format: Format) -> Iterator[Item]:
    """Yield the records of a file in order, at the offsets 0, 1, 2 and so on.

    Gzip is recognised by its first bytes, whatever the file's name. Each PMID of a deletion list is
    one record. A record that cannot be read gives a `BadRecord` at its offset, and reading
    continues; a truncated or corrupt file ends with one that holds the bytes after the last
    complete record. Memory is bounded by the largest record. Errors of `stream` itself are raised.
    """
    for offset, found in enumerate(_READERS[format](open_decompressed(stream))):
        if isinstance(found, Citation):
            yield ReadRecord(offset, found)
        else:
            yield BadRecord(offset, found.stage, found.error_type, found.error, found.payload)
