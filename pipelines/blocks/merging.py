"""Merges two versions of a block by offset, on Arrow tables."""

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.blocks.tables import Tables, sort_rows
from schemas.arrow import KINDS


def merge(old: Tables, new: Tables) -> dict[str, pa.Table]:
    """Return the union of two versions of a block by offset.

    Rows of `new` replace those of `old`, except that a dead letter never replaces a citation.
    """
    arriving = dict(new)
    arriving["dead_letters"] = without(new["dead_letters"], old["citations"]["offset"])
    replaced = pa.chunked_array(
        [*arriving["citations"]["offset"].chunks, *arriving["dead_letters"]["offset"].chunks],
        pa.int64(),
    )
    return {
        kind: sort_rows(kind, pa.concat_tables([without(old[kind], replaced), arriving[kind]]))
        for kind in KINDS
    }


def only(table: pa.Table, offsets: pa.ChunkedArray) -> pa.Table:
    """Return the rows of `table` whose offset is in `offsets`."""
    return table.filter(pc.is_in(table["offset"], offsets))


def without(table: pa.Table, offsets: pa.ChunkedArray) -> pa.Table:
    """Return the rows of `table` whose offset is not in `offsets`."""
    return table.filter(pc.invert(pc.is_in(table["offset"], offsets)))


def record_count(tables: Tables) -> int:
    """Return how many offsets have a citation or a dead letter in `tables`."""
    offsets = [x for kind in ("citations", "dead_letters") for x in tables[kind]["offset"].chunks]
    count: int = pc.count_distinct(pa.chunked_array(offsets, pa.int64())).as_py()
    return count
