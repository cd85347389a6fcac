"""Citations rebuilt from the stored text in an output, to annotate them without their source.

A stored text is title, one newline, abstract. The end of the title is not stored, and only affects
the `section` of a mention. It is assumed to be the first newline after the start of every mention
that the existing rows place in the title: exact for a title without a newline, even if a mention
crosses its end.
"""

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.blocks.merging import only
from pipelines.blocks.tables import Tables
from schemas.records import Citation, CitationStatus, Section, TextSection
from worker.readers.formats import ReadRecord

_COLUMNS = ("pmid", "pmid_version", "status", "text", "retracted", "date_revised", "year", "offset")


def title_length(text: str, last_start: int = -1) -> int:
    """Return the length of the title of a stored text in code points; all of it without a newline.

    `last_start` is the start of the last mention in the title, -1 without one.
    """
    end = text.find("\n", last_start + 1)
    return len(text) if end == -1 else end


def is_textless(citations: pa.Table) -> pa.BooleanArray:
    """Return, row by row, whether a citation was annotated but its text is not stored."""
    annotated = pc.equal(citations["status"], CitationStatus.ANNOTATED.value)
    mask = pc.and_(annotated, pc.is_null(citations["text"]))
    return mask.combine_chunks() if isinstance(mask, pa.ChunkedArray) else mask


def stored_citations(tables: Tables, wanted: pa.BooleanArray) -> tuple[ReadRecord, ...]:
    """Return the citations of a block's rows that are `wanted`, by offset.

    Annotated citations without a stored text are left out. The `text` of each equals the stored
    text exactly; labelled sections are merged into one section.
    """
    rows = tables["citations"].filter(wanted).select(_COLUMNS)
    rows = rows.filter(pc.invert(is_textless(rows)))
    starts = _last_starts(only(tables["mentions"], rows["offset"]))
    return tuple(_citations(rows, starts))


def _citations(rows: pa.Table, last_starts: dict[int, int]) -> Iterator[ReadRecord]:
    for row in rows.to_pylist():
        offset, text = row["offset"], row["text"] or ""
        end = title_length(text, last_starts.get(offset, -1))
        body = text[end + 1 :]
        citation = Citation(
            pmid=row["pmid"],
            version=row["pmid_version"],
            title=text[:end],
            abstract=(Section(body),) if body else (),
            retracted=row["retracted"],
            date_revised=row["date_revised"],
            year=row["year"],
            deleted=row["status"] == CitationStatus.DELETED,
        )
        yield ReadRecord(offset, citation)


def _last_starts(mentions: pa.Table) -> dict[int, int]:
    """Return, by offset, the start of the last mention in each title that has mentions."""
    in_title = mentions.filter(pc.equal(mentions["section"], TextSection.TITLE.value))
    rows = in_title.group_by("offset").aggregate([("start", "max")]).to_pylist()
    return {row["offset"]: row["start_max"] for row in rows}
