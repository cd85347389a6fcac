"""The cache file of an output's index: a Parquet file with one row for each block."""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import NonNegativeInt, TypeAdapter

from pipelines.blocks.intervals import format_intervals, parse_intervals
from pipelines.blocks.keys import BlockKey, file_name, parse_name
from pipelines.blocks.tables import Footer
from pipelines.output.summary import Counts
from schemas.arrow import KINDS
from worker.storage.objects import ObjectState

BlockFiles = tuple[ObjectState, ...]
"""The states of a block's files in the order of `KINDS`."""
NOT_LISTED = ObjectState(0, "", settled=False)
"""The state of a file that is missing in a listing."""

_VERSION = b"1"
_VERSION_KEY = b"pubner.index_version"
_MOST_BLOCKS = 10_000_000
_FOOTER_COLUMNS: Mapping[str, pa.DataType] = {
    "block_size": pa.int64(),
    "input_digest": pa.string(),
    "checkpoint_id": pa.string(),
    "settings": pa.string(),
    "records": pa.int64(),
    "complete": pa.bool_(),
    "last": pa.bool_(),
    "revision": pa.string(),
    "reader_version": pa.int64(),
    "format_version": pa.int64(),
}
_Rows = dict[str, NonNegativeInt]
_COUNTS = TypeAdapter(list[tuple[_Rows, list[tuple[str, str, NonNegativeInt]], _Rows] | None])
_SCHEMA = pa.schema(
    [
        pa.field("name", pa.string()),
        *(pa.field(f"{kind}_bytes", pa.int64()) for kind in KINDS),
        *(pa.field(f"{kind}_version", pa.string()) for kind in KINDS),
        *(pa.field(name, kind) for name, kind in _FOOTER_COLUMNS.items()),
        pa.field("covered", pa.string()),
        pa.field("counts", pa.string()),  # JSON; null where rows were not counted
    ]
)


@dataclass(frozen=True, slots=True)
class IndexedBlock:
    """A committed block: the listed state of its files, its footer, and its row counts."""

    files: BlockFiles
    footer: Footer
    counts: Counts | None = None

    @property
    def settled(self) -> bool:
        """Whether a listing is certain to show any later change of the files."""
        return all(state.settled for state in self.files)

    def describes(self, files: BlockFiles) -> bool:
        """Whether the files that were read are unchanged in a listing that shows `files`."""
        return self.settled and self.files == files


def to_bytes(entries: Mapping[BlockKey, IndexedBlock]) -> bytes:
    """Return the bytes of the file that holds `entries`, all of which must be settled."""
    blocks = list(entries.values())
    columns: dict[str, list[Any]] = {"name": [file_name(key) for key in entries]}
    for number, kind in enumerate(KINDS):
        columns[f"{kind}_bytes"] = [block.files[number].size for block in blocks]
        columns[f"{kind}_version"] = [block.files[number].version for block in blocks]
    for name in _FOOTER_COLUMNS:
        columns[name] = [getattr(block.footer, name) for block in blocks]
    columns["covered"] = [format_intervals(block.footer.covered) for block in blocks]
    columns["counts"] = [_counts_text(block.counts) for block in blocks]
    table = pa.table(columns, schema=_SCHEMA.with_metadata({_VERSION_KEY: _VERSION}))
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    data: bytes = sink.getvalue().to_pybytes()
    return data


def from_bytes(data: bytes) -> dict[BlockKey, IndexedBlock]:
    """Return the entries in a file written by `to_bytes`.

    :raises pa.ArrowException: if it is not a complete Parquet file; an OSError likewise.
    :raises ValueError: if it holds anything else, or was written by another version.
    """
    file = pq.ParquetFile(pa.BufferReader(data))
    metadata = file.metadata.metadata or {}
    if metadata.get(_VERSION_KEY) != _VERSION or file.metadata.num_rows > _MOST_BLOCKS:
        raise ValueError(f"it is not an index of version {_VERSION.decode()}")
    table = file.read()
    if not table.schema.equals(_SCHEMA) or any(
        table[name].null_count for name in _SCHEMA.names if name != "counts"
    ):
        raise ValueError("it has other columns, or values are missing")
    values = {name: table[name].to_pylist() for name in _SCHEMA.names}
    counts = _read_counts(values["counts"])
    files = zip(
        *(
            (
                ObjectState(size, version, settled=True)
                for size, version in zip(
                    values[f"{kind}_bytes"], values[f"{kind}_version"], strict=True
                )
            )
            for kind in KINDS
        ),
        strict=True,
    )
    footers = zip(*(values[name] for name in _FOOTER_COLUMNS), strict=True)
    entries: dict[BlockKey, IndexedBlock] = {}
    for name, states, footer, covered, count in zip(
        values["name"], files, footers, values["covered"], counts, strict=True
    ):
        key = parse_name(name)
        if key is None:
            raise ValueError(f"{name!r} is not the name of a block")
        footer_values = dict(zip(_FOOTER_COLUMNS, footer, strict=True))
        entries[key] = IndexedBlock(
            states, Footer(key=key, covered=parse_intervals(covered), **footer_values), count
        )
    return entries


def _counts_text(counts: Counts | None) -> str | None:
    if counts is None:
        return None
    mentions = [[head, kind, count] for (head, kind), count in counts.mentions.items()]
    return json.dumps([counts.citations, mentions, counts.dead_letters], separators=(",", ":"))


def _read_counts(texts: list[str | None]) -> list[Counts | None]:
    """Return the counts from the texts that `_counts_text` returned.

    :raises ValueError: if a text is not valid.
    """
    # One call reads all of them in a fraction of the time of a call each.
    found = _COUNTS.validate_json(
        f"[{','.join('null' if text is None else text for text in texts)}]", strict=True
    )
    if len(found) != len(texts):
        raise ValueError("there is not one count for each block")
    return [None if value is None else _one_count(*value) for value in found]


def _one_count(
    citations: dict[str, int], mentions: list[tuple[str, str, int]], dead_letters: dict[str, int]
) -> Counts:
    by_kind = Counter({(head, kind): count for head, kind, count in mentions})
    return Counts(Counter(citations), by_kind, Counter(dead_letters))
