"""Records as Arrow tables in the contract's schemas, and what a file's footer says of its block."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO, cast

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.blocks import BlockKey
from pipelines.intervals import Intervals, format_intervals, parse_intervals
from pipelines.messages import to_message
from pipelines.records import AnnotatedBlock, AnnotatedCitation
from pipelines.rows import Columns, block_rows
from schemas.arrow import KINDS
from schemas.records import DeadLetter, SourcePosition, Stage
from worker.readers.records import READER_VERSION

FORMAT_VERSION = 1
_PREFIX = b"pubner."
_SORT = {
    "mentions": ("offset", "start", "end", "task", "label"),
    "dead_letters": ("offset",),
    "citations": ("offset",),
}

Tables = Mapping[str, pa.Table]
"""One table a kind, by the kind's name."""


@dataclass(frozen=True, slots=True)
class Footer:
    """What the footer of each of a block's three files says, besides the block itself.

    `settings` are those that shape the rows. `records` counts positions: rows of citations and
    dead letters. `complete` and `last` are those of `ReadBlock`. `revision` is the digest of the
    three tables: files of one block that do not agree on it were not put in place together.
    `reader_version` is that of the readers, the oldest where several made the rows. `covered` are
    the half-open intervals of offsets that a stream's rows come from, gaps in the
    offsets included: sorted, apart from each other; none in batch.
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
    covered: Intervals = ()
    reader_version: int = READER_VERSION
    format_version: int = FORMAT_VERSION

    @property
    def is_of_older_reader(self) -> bool:
        """Whether the readers, as they are now, may make something else of the same bytes."""
        return self.reader_version < READER_VERSION

    def to_metadata(self) -> dict[bytes, bytes]:
        """Return the key-value metadata of a Parquet file."""
        values = {
            "format_version": str(self.format_version),
            "reader_version": str(self.reader_version),
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
            "covered": format_intervals(self.covered),
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
                covered=parse_intervals(values.get("covered", "")),
                reader_version=int(values.get("reader_version", "1")),
                format_version=int(values["format_version"]),
            )
        except (KeyError, ValueError):
            return None


def footer_in(stream: BinaryIO) -> Footer | None:
    """Return the footer of a Parquet file; None where pubner did not write it.

    :raises pa.ArrowException: if it is no whole Parquet file.
    :raises OSError: likewise, or if it cannot be read.
    """
    metadata = pq.read_metadata(stream).metadata
    return Footer.from_metadata(cast("Mapping[bytes, bytes] | None", metadata))


def revision_in(stream: BinaryIO) -> str | None:
    """Return the revision of a block's file; None where it is none, or half of one."""
    try:
        footer = footer_in(stream)
    except (pa.ArrowException, OSError):
        return None
    return None if footer is None else footer.revision


def block_tables(block: AnnotatedBlock, *, store_text: bool) -> dict[str, pa.Table]:
    """Return the rows of `block` as one table a kind.

    A citation that breaks the contract (a mention outside the text, a number out of range) gives a
    dead letter of stage `write`, and no row.
    """
    rows = block_rows(block.citations, store_text=store_text)
    refused = [_refused_letter(block, item, error) for item, error in rows.refused]
    letters = [_dead_letter_row(letter) for letter in (*block.dead_letters, *refused)]
    citations = {
        **rows.citations,
        "checkpoint_id": pa.repeat(block.checkpoint_id, len(rows.citations["pmid"])),
        "annotated_at": pa.repeat(pa.scalar(block.annotated_at), len(rows.citations["pmid"])),
    }
    tables = {
        "mentions": _to_table("mentions", rows.mentions, block.key),
        "dead_letters": pa.Table.from_pylist(letters, schema=KINDS["dead_letters"]),
        "citations": _to_table("citations", citations, block.key),
    }
    return {kind: sort_rows(kind, table) for kind, table in tables.items()}


def _refused_letter(block: AnnotatedBlock, item: AnnotatedCitation, error: Exception) -> DeadLetter:
    return DeadLetter(
        position=SourcePosition(block.key.source, block.key.partition, item.offset),
        stage=Stage.WRITE,
        error_type=type(error).__name__,
        error=str(error),
        payload=to_message(item.citation),
        seen_at=block.annotated_at,
    )


def _to_table(kind: str, columns: Columns, key: BlockKey) -> pa.Table:
    """Return a table of `kind`; the source and partition are those of `key` in every row."""
    schema = KINDS[kind]
    count = len(columns["pmid"])
    columns = {
        **columns,
        "source": pa.repeat(key.source, count),
        "partition": pa.repeat(key.partition, count),
    }
    arrays = [
        values.cast(field.type) if isinstance(values, pa.Array) else pa.array(values, field.type)
        for field, values in ((field, columns[field.name]) for field in schema)
    ]
    return pa.Table.from_arrays(arrays, schema=schema)


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


def _dead_letter_row(letter: DeadLetter) -> dict[str, Any]:
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
