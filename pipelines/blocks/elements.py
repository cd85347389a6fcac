"""The elements of the graph: a block as it was read, and as it was annotated."""

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from pipelines.blocks.keys import BlockKey
from schemas.records import Annotation, Citation, DeadLetter
from worker.readers.formats import ReadRecord

if TYPE_CHECKING:
    from pipelines.blocks.known import KnownBlocks


@dataclass(frozen=True, slots=True)
class InputFile:
    """A file to annotate: its path in any file system that Beam opens, source name and bytes.

    `refusal` says why it cannot be read under its name, where that is so: it is one dead letter.
    `known` are its blocks that were committed when the run began; None where nobody looked.
    """

    path: str
    source: str
    size: int = 0
    refusal: str = ""
    known: "KnownBlocks | None" = None


@dataclass(frozen=True, slots=True)
class BlockHeader:
    """What a block keeps on its way from reading to writing.

    `input_digest` identifies the content of the source (of a file its SHA-256). `complete` says
    that every record that the source has in this block is here; `last`, that the source has none
    after it.

    A block with many bytes of records comes in several pieces, one after the other: `piece` counts
    them from 0, and `more` says that another follows. `complete` and `last` are then true in the
    last piece alone, and say the same of all pieces together.

    In a stream the element is a part of a block: `coverage` is the half-open interval of offsets
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
    """Records of a block as read, by offset: citations, and dead letters of reading and parsing."""

    header: BlockHeader
    citations: tuple[ReadRecord, ...]
    dead_letters: tuple[DeadLetter, ...]


@dataclass(frozen=True, slots=True)
class AnnotatedCitation:
    """A citation and what was found in it; `annotation` is None where it has no text to read."""

    offset: int
    citation: Citation
    annotation: Annotation | None


@dataclass(frozen=True, slots=True)
class AnnotatedBlock:
    """A `ReadBlock` after the tagger, ready to be written; `annotated_at` is in UTC."""

    header: BlockHeader
    checkpoint_id: str
    annotated_at: datetime
    citations: tuple[AnnotatedCitation, ...]
    dead_letters: tuple[DeadLetter, ...]


@dataclass(frozen=True, slots=True)
class WrittenBlock:
    """How many rows of each kind a block's files hold once it, or a part of it, was written.

    `header` is that of what was written, not of all that the files hold.
    """

    header: BlockHeader
    citations: int = 0
    mentions: int = 0
    dead_letters: int = 0
