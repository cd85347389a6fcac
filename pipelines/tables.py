"""Records as Arrow tables in the contract's schemas, and what a file's footer says of its block."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from pipelines.blocks import BlockKey
from pipelines.messages import to_message
from pipelines.records import AnnotatedBlock, AnnotatedCitation
from schemas.arrow import KINDS
from schemas.errors import RecordError
from schemas.records import (
    CitationStatus,
    DeadLetter,
    SourcePosition,
    Stage,
    TextSection,
    text_digest,
)

FORMAT_VERSION = 1
_PREFIX = b"pubner."
_SORT = {
    "mentions": ("offset", "start", "end", "task", "label"),
    "dead_letters": ("offset",),
    "citations": ("offset",),
}

Tables = Mapping[str, pa.Table]
"""One table a kind, by the kind's name."""
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Footer:
    """What the footer of each of a block's three files says, besides the block itself.

    `settings` are those that shape the rows. `records` counts positions: rows of citations and
    dead letters. `complete` and `last` are those of `ReadBlock`. `revision` is the digest of the
    three tables: files of one block that do not agree on it were not put in place together.
    """

    key: BlockKey
    block_size: int
    input_digest: str
    checkpoint_id: str
    settings: str
    records: int
    complete: bool
    last: bool
    revision: str = ""
    format_version: int = FORMAT_VERSION

    def to_metadata(self) -> dict[bytes, bytes]:
        """Return the key-value metadata of a Parquet file."""
        values = {
            "format_version": str(self.format_version),
            "source": self.key.source,
            "partition": str(self.key.partition),
            "block_start": str(self.key.start),
            "block_size": str(self.block_size),
            "input_digest": self.input_digest,
            "checkpoint_id": self.checkpoint_id,
            "settings": self.settings,
            "records": str(self.records),
            "complete": str(int(self.complete)),
            "last": str(int(self.last)),
            "revision": self.revision,
        }
        return {_PREFIX + name.encode(): value.encode() for name, value in values.items()}

    @classmethod
    def from_metadata(cls, metadata: Mapping[bytes, bytes] | None) -> "Footer | None":
        """Return the footer that `metadata` hold; None where pubner did not write the file."""
        values = {
            name.removeprefix(_PREFIX).decode(): value.decode()
            for name, value in (metadata or {}).items()
            if name.startswith(_PREFIX)
        }
        try:
            return cls(
                key=BlockKey(
                    values["source"], int(values["partition"]), int(values["block_start"])
                ),
                block_size=int(values["block_size"]),
                input_digest=values["input_digest"],
                checkpoint_id=values["checkpoint_id"],
                settings=values["settings"],
                records=int(values["records"]),
                complete=values["complete"] == "1",
                last=values["last"] == "1",
                revision=values["revision"],
                format_version=int(values["format_version"]),
            )
        except (KeyError, ValueError):
            return None


def block_tables(block: AnnotatedBlock, *, store_text: bool) -> dict[str, pa.Table]:
    """Return the rows of `block` as one table a kind.

    A citation that breaks the contract (a mention outside the text, a number out of range) gives a
    dead letter of stage `write`, and no row.
    """
    mentions: list[Row] = []
    citations: list[Row] = []
    refused: list[DeadLetter] = []
    for item in block.citations:
        try:
            citation, found = _citation_rows(block, item, store_text=store_text)
            _check_row(citation, found)
        except (RecordError, UnicodeError, OverflowError, pa.ArrowException) as error:
            refused.append(
                DeadLetter(
                    position=_position(block.key, item.offset),
                    stage=Stage.WRITE,
                    error_type=type(error).__name__,
                    error=str(error),
                    payload=to_message(item.citation),
                    seen_at=block.annotated_at,
                )
            )
        else:
            citations.append(citation)
            mentions += found
    letters = [_dead_letter_row(letter) for letter in (*block.dead_letters, *refused)]
    rows = {"mentions": mentions, "dead_letters": letters, "citations": citations}
    return {
        kind: sort_rows(kind, pa.Table.from_pylist(rows[kind], schema=KINDS[kind])) for kind in rows
    }


def sort_rows(kind: str, table: pa.Table) -> pa.Table:
    """Return `table` in the order in which files of `kind` are written."""
    return table.sort_by([(column, "ascending") for column in _SORT[kind]])


def revision_of(tables: Tables) -> str:
    """Return a digest of the rows of a block's three tables."""
    digest = hashlib.sha256()
    for kind in KINDS:
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, KINDS[kind]) as stream:
            stream.write_table(tables[kind].combine_chunks())
        digest.update(sink.getvalue())
    return digest.hexdigest()[:32]


def offsets_of(tables: Tables) -> set[int]:
    """Return the offsets that `tables` hold a citation or a dead letter of."""
    return {
        offset
        for kind in ("citations", "dead_letters")
        for offset in tables[kind]["offset"].to_pylist()
    }


def _position(key: BlockKey, offset: int) -> SourcePosition:
    return SourcePosition(key.source, key.partition, offset)


def _citation_rows(
    block: AnnotatedBlock, item: AnnotatedCitation, *, store_text: bool
) -> tuple[Row, list[Row]]:
    citation = item.citation
    text = citation.text
    annotation = item.annotation
    if citation.deleted:
        status = CitationStatus.DELETED
    elif annotation is None:
        status = CitationStatus.NO_TEXT
    else:
        status = CitationStatus.ANNOTATED
    place = {
        "pmid": citation.pmid,
        "pmid_version": citation.version,
        "source": block.key.source,
        "partition": block.key.partition,
        "offset": item.offset,
    }
    found = [] if annotation is None else annotation.mentions
    mentions = [
        {
            **place,
            "task": mention.task,
            "label": mention.label,
            "entity_type": str(mention.entity_type),
            "start": mention.start,
            "end": mention.end,
            "text": _covered(text or "", mention.start, mention.end),
            "section": _section(citation.title, mention.start),
            "score": mention.score,
            "preferred": mention.preferred,
            "checkpoint_id": mention.checkpoint_id,
        }
        for mention in found
    ]
    row = {
        **place,
        "status": str(status),
        "text": text if store_text else None,
        "text_sha256": None if text is None else text_digest(text),
        "retracted": citation.retracted,
        "date_revised": citation.date_revised,
        "year": citation.year,
        "mention_count": len(mentions),
        "truncated": annotation is not None and annotation.truncated,
        "checkpoint_id": block.checkpoint_id,
        "annotated_at": block.annotated_at,
    }
    return row, mentions


def _covered(text: str, start: int, end: int) -> str:
    """Return the part of `text` that a mention covers."""
    if not 0 <= start < end <= len(text):
        raise RecordError(
            f"a mention covers [{start}, {end}) of a text of {len(text)} code points; "
            "expected a part of it that is not empty"
        )
    return text[start:end]


def _section(title: str, start: int) -> str:
    return str(TextSection.TITLE if start < len(title) else TextSection.ABSTRACT)


def _dead_letter_row(letter: DeadLetter) -> Row:
    return {
        "source": letter.position.source,
        "partition": letter.position.partition,
        "offset": letter.position.offset,
        "stage": str(letter.stage),
        "error_type": letter.error_type,
        "error": _storable(letter.error),
        "key": letter.key,
        "headers": [(_storable(name), value) for name, value in letter.headers],
        "payload": letter.payload,
        "seen_at": letter.seen_at,
    }


def _storable(text: str) -> str:
    """Return `text` with lone surrogates, which UTF-8 cannot hold, written as escapes."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


_BOUNDS = {"pmid": 64, "pmid_version": 16, "year": 16}


def _check_row(citation: Row, mentions: Sequence[Row]) -> None:
    """Check what Arrow would refuse for the whole block: number ranges and lone surrogates.

    :raises RecordError: on a number that its column cannot hold.
    :raises UnicodeError: on a text that UTF-8 cannot hold.
    """
    for column, bits in _BOUNDS.items():
        value = citation[column]
        if value is not None and not -(2 ** (bits - 1)) <= value < 2 ** (bits - 1):
            raise RecordError(f"{column} {value} does not fit the {bits} bits of its column")
    for text in (citation["text"], *(mention["text"] for mention in mentions)):
        if text is not None:
            text.encode("utf-8")
