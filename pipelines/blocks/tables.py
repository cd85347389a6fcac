"""A block's records as Arrow tables in the published schemas, and the metadata in file footers."""

import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.blocks.elements import AnnotatedBlock
from pipelines.blocks.intervals import Intervals, format_intervals, parse_intervals
from pipelines.blocks.keys import BlockKey
from pipelines.blocks.rows import Columns, block_rows
from schemas.arrow import KINDS
from schemas.records import DeadLetter, header_key, header_key_bytes
from worker.readers.formats import READER_VERSION

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

FORMAT_VERSION = 2
"""The version that is written. Version 2 added the column `header_list` of `dead_letters`."""
READABLE_VERSIONS = (1, FORMAT_VERSION)
_PREFIX = b"pubner."
_HEADER_LIST = "header_list"
_SORT = {
    "mentions": ("offset", "start", "end", "task", "label"),
    "dead_letters": ("offset",),
    "citations": ("offset",),
}

Tables = Mapping[str, pa.Table]
"""One table for each kind of file, by the kind's name."""


@dataclass(frozen=True, slots=True)
class Footer:
    """The metadata in the Parquet footer of each of a block's three files.

    `settings` are those that determine the rows. `records` counts positions: rows of citations and
    dead letters. `complete` and `last` are those of `BlockHeader`. `revision` is the digest of the
    three tables: files of one block with different revisions were not committed together.
    `reader_version` is that of the readers, the oldest one if several made the rows. `covered` are
    the half-open intervals of offsets that a stream's rows come from, gaps in the offsets
    included: sorted and disjoint; empty in batch.
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
        """Whether the current readers may parse the same bytes differently."""
        return self.reader_version < READER_VERSION

    def to_metadata(self) -> dict[bytes, bytes]:
        """Return the key-value metadata of a Parquet file."""
        values = {
            "format_version": str(FORMAT_VERSION),
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
        """Return the footer from a file's metadata; None if pubner did not write the file."""
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
    """Return the footer of a Parquet file; None if pubner did not write it.

    :raises pa.ArrowException: if it is not a complete Parquet file.
    :raises OSError: likewise, or if it cannot be read.
    """
    metadata = pq.read_metadata(stream).metadata
    return Footer.from_metadata(cast("Mapping[bytes, bytes] | None", metadata))


def revision_in(stream: BinaryIO) -> str | None:
    """Return the revision of a block's file; None if it is not one, or incomplete."""
    try:
        footer = footer_in(stream)
    except (pa.ArrowException, OSError):
        return None
    return None if footer is None else footer.revision


def block_tables(block: AnnotatedBlock, *, store_text: bool) -> dict[str, pa.Table]:
    """Return the rows of `block`, checked by `refuse_unstorable`, as one table for each kind."""
    citations, mentions = block_rows(block.citations, store_text=store_text)
    dead_letters = [_dead_letter_row(dead_letter) for dead_letter in block.dead_letters]
    count = len(block.citations)
    citations |= {
        "checkpoint_id": pa.repeat(block.checkpoint_id, count),
        "annotated_at": pa.repeat(pa.scalar(block.annotated_at), count),
    }
    tables = {
        "mentions": _to_table("mentions", mentions, block.header.key),
        "dead_letters": pa.Table.from_pylist(dead_letters, schema=KINDS["dead_letters"]),
        "citations": _to_table("citations", citations, block.header.key),
    }
    return {kind: sort_rows(kind, table) for kind, table in tables.items()}


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
    keys = [(column, "ascending") for column in _SORT[kind]]
    order = pc.sort_indices(table, sort_keys=keys)
    if order.equals(pa.array(np.arange(len(order)), order.type)):
        return table  # nearly always the case; avoids a copy
    return table.take(order)


def revision_of(tables: Tables) -> str:
    """Return a digest of the rows of a block's three tables."""
    digest = hashlib.sha256()
    for kind in KINDS:
        sink = pa.PythonFile(_Digesting(digest), mode="w")
        with pa.ipc.new_stream(sink, KINDS[kind]) as stream:
            stream.write_table(tables[kind].combine_chunks())
    return digest.hexdigest()[:32]


class _Digesting(io.RawIOBase):
    """A sink that updates a digest with the bytes written to it, and does not store them."""

    def __init__(self, digest: "hashlib._Hash") -> None:
        self._digest = digest

    def writable(self) -> bool:
        return True

    def write(self, data: "ReadableBuffer") -> int:
        self._digest.update(data)
        return memoryview(data).nbytes


def _dead_letter_row(dead_letter: DeadLetter) -> dict[str, Any]:
    return {
        "source": dead_letter.position.source,
        "partition": dead_letter.position.partition,
        "offset": dead_letter.position.offset,
        "stage": str(dead_letter.stage),
        "error_type": dead_letter.error_type,
        "error": _storable(dead_letter.error),
        "key": dead_letter.key,
        "headers": list(
            {_shown(name): value or b"" for name, value in dead_letter.headers}.items()
        ),
        "payload": dead_letter.payload,
        "seen_at": dead_letter.seen_at,
        "header_list": [_header(name, value) for name, value in dead_letter.headers],
    }


def dead_letter_headers(row: Mapping[str, Any]) -> tuple[tuple[str, bytes | None], ...]:
    """Return the original headers from a row of `dead_letters` in the newest format."""
    return tuple(
        (x["key"] if x["key_bytes"] is None else header_key(x["key_bytes"]), x["value"])
        for x in row["header_list"]
    )


def in_newest_format(kind: str, table: pa.Table) -> pa.Table:
    """Return the rows of a file of any readable format with the columns of the newest format.

    :raises pa.ArrowException: if the columns are not those of `kind`.
    """
    schema = KINDS[kind]
    if kind == "dead_letters" and _HEADER_LIST not in table.column_names:
        lists = [[_header(*pair) for pair in row] for row in table["headers"].to_pylist()]
        column = pa.array(lists, schema.field(_HEADER_LIST).type)
        table = table.append_column(schema.field(_HEADER_LIST), column)
    return table.replace_schema_metadata(None).cast(schema)


def _header(name: str, value: bytes | None) -> dict[str, Any]:
    shown = _shown(name)
    data = header_key_bytes(name)
    return {
        "key": shown,
        "key_bytes": None if shown.encode() == data else data,
        "value": value,
    }


def _shown(name: str) -> str:
    """Return a header's key as text, with replacement characters where it is not UTF-8."""
    return header_key_bytes(name).decode("utf-8", "replace")


def _storable(text: str) -> str:
    """Return `text` with lone surrogates, which UTF-8 cannot hold, written as escapes."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
