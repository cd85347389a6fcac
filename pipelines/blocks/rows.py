"""The columns of `citations` and `mentions`, built from annotated citations.

The records are converted column by column, not row by row: a block has tens of thousands of
mentions, and one Python object for each would dominate the cost of writing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.blocks.elements import AnnotatedCitation
from schemas.records import CitationStatus, TextSection, text_digest

_TITLE, _ABSTRACT = TextSection.TITLE.value, TextSection.ABSTRACT.value

Columns = dict[str, Any]
"""Values or Arrow arrays by column, all of one length."""


@dataclass(frozen=True, slots=True)
class _Row:
    """A citation with the values for its rows that are computed once."""

    item: AnnotatedCitation
    text: str | None
    digest: str | None
    parts: list[str]
    """The text of each mention."""


def block_rows(items: Sequence[AnnotatedCitation], *, store_text: bool) -> tuple[Columns, Columns]:
    """Return the columns of a block's `citations` and `mentions` that differ from row to row.

    Rows are in the order of `items`, which `refusals.refuse_unstorable` has checked.
    """
    rows = [_row(item) for item in items]
    return _citation_columns(rows, store_text=store_text), _mention_columns(rows)


def _row(item: AnnotatedCitation) -> _Row:
    text = item.citation.text
    mentions = () if item.annotation is None else item.annotation.mentions
    parts = [(text or "")[mention.start : mention.end] for mention in mentions]
    return _Row(item, text, None if text is None else text_digest(text), parts)


def _citation_columns(rows: Sequence[_Row], *, store_text: bool) -> Columns:
    citations = [row.item.citation for row in rows]
    found = [row.item.annotation for row in rows]
    return {
        "pmid": [citation.pmid for citation in citations],
        "pmid_version": [citation.version for citation in citations],
        "offset": [row.item.offset for row in rows],
        "status": [_status(row.item) for row in rows],
        "text": [row.text if store_text else None for row in rows],
        "text_sha256": [row.digest for row in rows],
        "retracted": [citation.retracted for citation in citations],
        "date_revised": [citation.date_revised for citation in citations],
        "year": [citation.year for citation in citations],
        "mention_count": [len(row.parts) for row in rows],
        "truncated": [annotation is not None and annotation.truncated for annotation in found],
    }


def _status(item: AnnotatedCitation) -> str:
    if item.citation.deleted:
        return CitationStatus.DELETED.value
    if item.annotation is None:
        return CitationStatus.NO_TEXT.value
    return CitationStatus.ANNOTATED.value


def _mention_columns(rows: Sequence[_Row]) -> Columns:
    counts = [len(row.parts) for row in rows]
    mentions = [
        mention
        for row in rows
        if row.item.annotation is not None
        for mention in row.item.annotation.mentions
    ]
    starts = np.array([mention.start for mention in mentions], np.int64)
    titles = np.array([len(row.item.citation.title) for row in rows], np.int64)
    return {
        "pmid": _repeated([row.item.citation.pmid for row in rows], counts),
        "pmid_version": _repeated([row.item.citation.version for row in rows], counts),
        "offset": _repeated([row.item.offset for row in rows], counts),
        "task": [mention.task for mention in mentions],
        "label": [mention.label for mention in mentions],
        "entity_type": [mention.entity_type for mention in mentions],
        "start": starts,
        "end": np.array([mention.end for mention in mentions], np.int64),
        "text": [part for row in rows for part in row.parts],
        "section": pc.if_else(pa.array(starts < np.repeat(titles, counts)), _TITLE, _ABSTRACT),
        "score": [mention.score for mention in mentions],
        "preferred": [mention.preferred for mention in mentions],
        "checkpoint_id": [mention.checkpoint_id for mention in mentions],
    }


def _repeated(values: Sequence[int], counts: Sequence[int]) -> npt.NDArray[np.int64]:
    """Return each value repeated as often as its count."""
    return np.repeat(np.array(values, np.int64), counts)
