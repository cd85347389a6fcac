"""The records that flow through pubner: where they come from, what they hold, what is found."""

import hashlib
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum

from schemas.tasks import EntityType

ALL_VERSIONS = 0
"""Stands for the version of a deletion that is of every version of its citation."""


@dataclass(frozen=True, slots=True, order=True)
class SourcePosition:
    """Where a record stands: a Kafka topic, partition and offset; or a file's base name, 0, index.

    Each position yields exactly one row of `citations` or one dead letter.
    """

    source: str
    partition: int
    offset: int


@dataclass(frozen=True, slots=True)
class Section:
    """One part of an abstract; `label` is None where the abstract is unstructured."""

    text: str
    label: str | None = None


@dataclass(frozen=True, slots=True)
class Citation:
    """One version of a citation as its source gave it, or its deletion (a tombstone).

    `version` counts from 1. `title` and the sections are Unicode as read, never normalised.
    A tombstone has `deleted` set and no text; its version is the one that is deleted, or
    `ALL_VERSIONS`. `date_revised` and `year` are None where unknown.
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
        """The sections, each as `LABEL: text` where labelled, joined by one newline."""
        return "\n".join(
            f"{section.label}: {section.text}" if section.label else section.text
            for section in self.abstract
        )

    @property
    def text(self) -> str | None:
        """Title, one newline, abstract; None where both are empty or the citation is deleted.

        Every offset of a mention counts Unicode code points of this text.
        """
        body = self.abstract_text
        if self.deleted or not (self.title or body):
            return None
        return f"{self.title}\n{body}"


class CitationStatus(StrEnum):
    """What became of a citation."""

    ANNOTATED = "annotated"
    DELETED = "deleted"
    NO_TEXT = "no_text"


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """A labelled stretch of a text: half-open `start` and `end` in code points, and its label."""

    start: int
    end: int
    label: str


class TextSection(StrEnum):
    """The part of a citation's text that a mention begins in."""

    TITLE = "title"
    ABSTRACT = "abstract"


@dataclass(frozen=True, slots=True)
class Mention:
    """A mention found in a text: half-open `start` and `end` in code points of that text.

    `score` is the span's probability; `preferred` is what the overlap policy keeps;
    `checkpoint_id` names the checkpoint whose head found it.
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
    """What one tagger found in one text; `truncated` where a set limit cut the text it read.

    `word_pieces` is how many of them were read, over all encoder passes; `unknown_pieces` how many
    of these the vocabulary does not know.
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
    """A record that could not be used, with its reason and its original bytes.

    `error_type` is the exception's class name; `headers` are key and value pairs of the message
    (empty for files); `seen_at` is in UTC.
    """

    position: SourcePosition
    stage: Stage
    error_type: str
    error: str
    payload: bytes
    seen_at: datetime
    key: bytes | None = None
    headers: tuple[tuple[str, bytes], ...] = ()


def text_digest(text: str) -> str:
    """Return the SHA-256 of `text` in UTF-8, as hex; lone surrogates are kept as they are."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
