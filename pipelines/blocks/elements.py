"""The elements of the pipeline's PCollections: blocks as read, as annotated, and as written."""

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from pipelines.blocks.keys import BlockKey
from schemas.records import Annotation, Citation, DeadLetter
from worker.readers.formats import ReadRecord, SourceMessage

if TYPE_CHECKING:
    from pipelines.blocks.known import KnownBlocks


@dataclass(frozen=True, slots=True)
class InputFile:
    """A file to annotate: its path in any file system that Beam supports, source name and size.

    `refusal` is the reason why the file cannot be an input; such a file becomes one dead letter.
    `known` are its blocks that were committed when the run began; None if the output was not
    listed.
    """

    path: str
    source: str
    size: int = 0
    refusal: str = ""
    known: "KnownBlocks | None" = None


@dataclass(frozen=True, slots=True)
class BlockHeader:
    """The metadata that a block carries from reading to writing.

    `input_digest` identifies the content of the source (for a file its SHA-256). `complete` means
    that the block holds every record that the source has in its range; `last`, that the source
    has no records after it.

    A large block is split into several consecutive pieces: `piece` is the index, from 0, and
    `more` means that another one follows. `complete` and `last` are then set in the last piece
    alone, and refer to all pieces together.

    In a stream the element is a slice of a block: `coverage` is the half-open interval of offsets
    that were read for it, gaps included, and `base` the offset where this run began to read the
    partition. `drained` is the token of the request that ended the reading of the partition. In
    batch, and before messages are decoded, `coverage` is None.
    """

    key: BlockKey
    input_digest: str
    complete: bool = False
    last: bool = False
    coverage: tuple[int, int] | None = None
    base: int = 0
    drained: str = ""
    piece: int = 0
    more: bool = False


@dataclass(frozen=True, slots=True)
class ReadBlock:
    """The records of a block as read, by offset: citations, and dead letters of read and parse."""

    header: BlockHeader
    citations: tuple[ReadRecord, ...]
    dead_letters: tuple[DeadLetter, ...]


@dataclass(frozen=True, slots=True)
class AnnotatedCitation:
    """A citation with its annotation, which is None where the citation has no text.

    `message` is the Kafka message that it was read from, if it is one's.
    """

    offset: int
    citation: Citation
    annotation: Annotation | None
    message: SourceMessage | None = None


@dataclass(frozen=True, slots=True)
class AnnotatedBlock:
    """A block annotated by the tagger, ready to be written; `annotated_at` is in UTC."""

    header: BlockHeader
    checkpoint_id: str
    annotated_at: datetime
    citations: tuple[AnnotatedCitation, ...]
    dead_letters: tuple[DeadLetter, ...]


@dataclass(frozen=True, slots=True)
class WrittenBlock:
    """The row counts of a block's files after a write of the block, or of a slice of it.

    `header` describes what was written, not everything that the files hold.
    """

    header: BlockHeader
    citations: int = 0
    mentions: int = 0
    dead_letters: int = 0
