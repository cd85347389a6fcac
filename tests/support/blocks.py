"""Blocks, stores and readers for tests of the pipeline, without a model."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import pyarrow.dataset as ds
import pyarrow.parquet as pq

from pipelines.blocks.elements import AnnotatedBlock, AnnotatedCitation, BlockHeader, ReadBlock
from pipelines.blocks.keys import BlockKey
from schemas.arrow import KINDS
from schemas.records import (
    Annotation,
    Citation,
    DeadLetter,
    Mention,
    Section,
    SourcePosition,
    Stage,
)
from schemas.tasks import EntityType

NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)


def citation(offset: int, *, note: str = "") -> Citation:
    """Return a citation whose PMID and text follow from its offset."""
    return Citation(
        pmid=1000 + offset, title=f"Gene {offset}", abstract=(Section(f"Body{note}", "AIM"),)
    )


def mention(start: int, end: int, *, checkpoint_id: str = "c1") -> Mention:
    """Return a gene mention."""
    return Mention("bc2gm", "GENE", EntityType.GENE, start, end, 0.5, True, checkpoint_id)


def dead_letter(offset: int, *, source: str = "s.xml", stage: Stage = Stage.PARSE) -> DeadLetter:
    """Return a dead letter of a record without a PMID."""
    position = SourcePosition(source, 0, offset)
    return DeadLetter(position, stage, "RecordError", "no PMID", b"<x/>", NOW)


def block(
    offsets: Sequence[int] = (),
    *,
    dead_letters: Sequence[int] = (),
    start: int = 0,
    source: str = "s.xml",
    digest: str = "d1",
    checkpoint_id: str = "c1",
    note: str = "",
    complete: bool = True,
    last: bool = True,
) -> AnnotatedBlock:
    """Return a block with an annotated citation, two mentions each, at `offsets`."""
    found = Annotation((mention(5, 6, checkpoint_id=checkpoint_id), mention(0, 4)))
    return AnnotatedBlock(
        BlockHeader(BlockKey(source, 0, start), digest, complete=complete, last=last),
        checkpoint_id=checkpoint_id,
        annotated_at=NOW,
        citations=tuple(
            AnnotatedCitation(offset, citation(offset, note=note), found) for offset in offsets
        ),
        dead_letters=tuple(dead_letter(offset, source=source) for offset in dead_letters),
    )


Block = TypeVar("Block", AnnotatedBlock, ReadBlock)


def with_header(block: Block, **changes: Any) -> Block:
    """Return a block with some fields of its header changed."""
    return replace(block, header=replace(block.header, **changes))


def rows(
    root: Path, kind: str, *, ignore: Sequence[str] = ("annotated_at", "seen_at")
) -> list[Any]:
    """Return every row of `kind` under `root`, in the order of positions, as a user reads them."""
    folder = root / kind
    if not folder.is_dir():
        return []
    table = ds.dataset(folder, schema=KINDS[kind], format="parquet").to_table()
    found: list[Mapping[str, Any]] = table.to_pylist()
    kept = [{name: row[name] for name in row if name not in ignore} for row in found]
    return sorted(kept, key=_order)


def _order(row: Mapping[str, Any]) -> tuple[Any, ...]:
    names = ("source", "partition", "offset", "start", "end", "task", "label")
    return tuple(row[name] for name in names if name in row)


def all_rows(root: Path) -> dict[str, list[Any]]:
    """Return the rows of every kind."""
    return {kind: rows(root, kind) for kind in KINDS}


def hidden_files(root: Path) -> list[str]:
    """Return the names of temporary files anywhere under `root`."""
    return sorted(path.name for path in root.rglob("*.tmp"))


def as_of_an_older_reader(root: Path) -> None:
    """Rewrite the files of an output as they were when footers did not name the reader."""
    for path in sorted(root.glob("*/*.parquet")):
        table = pq.read_table(path)
        metadata = dict(table.schema.metadata)
        del metadata[b"pubner.reader_version"]
        pq.write_table(table.replace_schema_metadata(metadata), path)
