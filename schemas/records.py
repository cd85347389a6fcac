"""The records of pubner: source positions, citations, mentions, annotations, dead letters."""

import hashlib
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum

from schemas.entity_types import EntityType

ALL_VERSIONS = 0
"""The version number of a tombstone that deletes every version of its citation."""


@dataclass(frozen=True, slots=True, order=True)
class SourcePosition:
    """The position of a record: Kafka topic, partition, offset; or a file's base name, 0, index.

    Each position yields exactly one row of `citations` or one dead letter.
    """

    source: str
    partition: int
    offset: int


@dataclass(frozen=True, slots=True)
class Section:
    """One section of an abstract; `label` is None if the abstract is unstructured."""

    text: str
    label: str | None = None


@dataclass(frozen=True, slots=True)
class Citation:
    """One version of a citation as read from its source, or its deletion (a tombstone).

    `version` counts from 1. `title` and the sections are Unicode as read, never normalised.
    A tombstone has `deleted` set and no text; its version is the deleted one, or `ALL_VERSIONS`.
    `date_revised` and `year` are None if unknown.
    """

    pmid: int
    version: int = 1
    title: str = ""
    abstract: tuple[Section, ...] = ()
    retracted: bool = False
    date_revised: date | None = None
    year: int | None = None
    deleted: bool = False

    @property
    def abstract_text(self) -> str:
        """The sections, each as `LABEL: text` if labelled, joined by one newline."""
        return "\n".join(
            f"{section.label}: {section.text}" if section.label else section.text
            for section in self.abstract
        )

    @property
    def text(self) -> str | None:
        """Title, one newline, abstract; None if both are empty or the citation is deleted.

        Every offset of a mention counts Unicode code points of this text.
        """
        body = self.abstract_text
        if self.deleted or not (self.title or body):
            return None
        return f"{self.title}\n{body}"


class CitationStatus(StrEnum):
    """The outcome of processing a citation."""

    ANNOTATED = "annotated"
    DELETED = "deleted"
    NO_TEXT = "no_text"


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """A labelled span of a text: half-open `start` and `end` in code points, and its label."""

    start: int
    end: int
    label: str


class TextSection(StrEnum):
    """The part of a citation's text in which a mention begins."""

    TITLE = "title"
    ABSTRACT = "abstract"


@dataclass(frozen=True, slots=True)
class Mention:
    """A mention found in a text: half-open `start` and `end` in code points of that text.

    `score` is the span's probability; `preferred` is true if the overlap policy keeps the mention;
    `checkpoint_id` is the id of the checkpoint that found it.
    """

    task: str
    label: str
    entity_type: EntityType
    start: int
    end: int
    score: float
    preferred: bool
    checkpoint_id: str


@dataclass(frozen=True, slots=True)
class Annotation:
    """The result of tagging one text; `truncated` is true if a configured limit cut the text.

    `word_pieces` is the number of word pieces read, over all encoder passes; `unknown_pieces` the
    number of those that are unknown to the vocabulary.
    """

    mentions: tuple[Mention, ...]
    truncated: bool = False
    word_pieces: int = 0
    unknown_pieces: int = 0


class Stage(StrEnum):
    """The step at which a record failed."""

    READ = "read"
    PARSE = "parse"
    ANNOTATE = "annotate"
    WRITE = "write"


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A record that could not be processed, with the reason and its original bytes.

    `error_type` is the exception's class name; `headers` are key and value pairs of the message
    (empty for files), where bytes of a key that are not UTF-8 are surrogates (see
    `header_key_bytes`); `seen_at` is in UTC.
    """

    position: SourcePosition
    stage: Stage
    error_type: str
    error: str
    payload: bytes
    seen_at: datetime
    key: bytes | None = None
    headers: tuple[tuple[str, bytes | None], ...] = ()


def header_key(data: bytes) -> str:
    """Return a header's key as text; bytes that are not UTF-8 become surrogates (PEP 383)."""
    return data.decode("utf-8", "surrogateescape")


def header_key_bytes(key: str) -> bytes:
    """Return the bytes of a header's key: the inverse of `header_key`."""
    return key.encode("utf-8", "surrogateescape")


def text_digest(text: str) -> str:
    """Return the SHA-256 of `text` in UTF-8, as hex; lone surrogates are kept as they are."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
