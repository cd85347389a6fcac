"""Citations as the output's rows hold them, so that they can be annotated without their source.

A stored text is title, one newline, abstract. Where the title ends is not stored, and matters to
nothing but the `section` of a mention. A title may in principle hold a newline itself, so the end
is taken to be the first newline that is not before the end of any mention that stands in the title
by the rows there are. Should that lie behind the start of a mention that stands in the abstract (a
mention may run over the title's end), it is the first newline behind the start of all mentions in
the title.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.merging import only
from pipelines.records import ReadCitation
from pipelines.tables import Tables
from schemas.records import Citation, CitationStatus, Section, TextSection

_COLUMNS = ("pmid", "pmid_version", "status", "text", "retracted", "date_revised", "year", "offset")


@dataclass(frozen=True, slots=True)
class TitleBounds:
    """What the mentions in place say of a title, in code points of the text.

    `start` and `end` are the last of those of the mentions in the title (-1 and 0 without any),
    `abstract` the first start of those in the abstract; None without any.
    """

    start: int = -1
    end: int = 0
    abstract: int | None = None


def title_length(text: str, bounds: TitleBounds) -> int:
    """Return how many code points of a stored text are the title's; all, should it have no end."""
    for begin in (bounds.end, bounds.start + 1):
        place = text.find("\n", begin)
        if place != -1 and (bounds.abstract is None or place <= bounds.abstract):
            return place
    first = text.find("\n")
    return len(text) if first == -1 else first


def is_textless(citations: pa.Table) -> pa.BooleanArray:
    """Return, row by row, whether a citation was annotated and its text is not stored."""
    annotated = pc.equal(citations["status"], CitationStatus.ANNOTATED.value)
    mask = pc.and_(annotated, pc.is_null(citations["text"]))
    return mask.combine_chunks() if isinstance(mask, pa.ChunkedArray) else mask


def stored_citations(tables: Tables, wanted: pa.BooleanArray) -> tuple[ReadCitation, ...]:
    """Return the citations of a block's rows that are `wanted`, by offset.

    Those that were annotated and have no stored text are left out. The `text` of each is the stored
    one, code point by code point; labelled sections are part of one section's text.
    """
    rows = tables["citations"].filter(wanted).select(_COLUMNS)
    rows = rows.filter(pc.invert(is_textless(rows)))
    bounds = _title_bounds(only(tables["mentions"], rows["offset"]))
    return tuple(_citations(rows, bounds))


def _citations(rows: pa.Table, bounds: dict[int, TitleBounds]) -> Iterator[ReadCitation]:
    for row in rows.to_pylist():
        offset, text = row["offset"], row["text"] or ""
        end = title_length(text, bounds.get(offset, TitleBounds()))
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
        yield ReadCitation(offset, citation)


def _title_bounds(mentions: pa.Table) -> dict[int, TitleBounds]:
    """Return the bounds of each citation that has mentions, by its offset."""
    in_title = pc.equal(mentions["section"], TextSection.TITLE.value)
    titles: dict[int, tuple[int, int]] = {
        row["offset"]: (row["start_max"], row["end_max"])
        for row in mentions.filter(in_title)
        .group_by("offset")
        .aggregate([("start", "max"), ("end", "max")])
        .to_pylist()
    }
    abstracts: dict[int, int] = {
        row["offset"]: row["start_min"]
        for row in mentions.filter(pc.invert(in_title))
        .group_by("offset")
        .aggregate([("start", "min")])
        .to_pylist()
    }
    bounds = {}
    for offset in titles.keys() | abstracts.keys():
        start, end = titles.get(offset, (-1, 0))
        bounds[offset] = TitleBounds(start, end, abstracts.get(offset))
    return bounds
