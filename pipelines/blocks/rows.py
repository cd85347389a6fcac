"""Citations as columns of `citations` and `mentions`, checked against the contract.

Columns are taken from the records one by one, never rows: a block has some tens of thousands of
mentions, and a Python object for each would cost more than all the rest.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.blocks.elements import AnnotatedCitation
from schemas.errors import RecordError
from schemas.records import Annotation, Citation, CitationStatus, TextSection, text_digest

_BOUNDS = {"pmid": 64, "pmid_version": 16, "year": 16}
_TITLE, _ABSTRACT = TextSection.TITLE.value, TextSection.ABSTRACT.value

Columns = dict[str, Any]
"""Values or Arrow arrays by column, all of one length."""


@dataclass(frozen=True, slots=True)
class Rows:
    """What differs from row to row of a block's `citations` and `mentions`, by column.

    `refused` are the citations that break the contract, and why; they have no rows.
    """

    citations: Columns
    mentions: Columns
    refused: list[tuple[AnnotatedCitation, Exception]]


@dataclass(frozen=True, slots=True)
class _Checked:
    """A citation that keeps the contract: what its rows need that takes work to know."""

    item: AnnotatedCitation
    text: str | None
    digest: str | None
    parts: list[str]
    """The text of each mention."""


def block_rows(items: Sequence[AnnotatedCitation], *, store_text: bool) -> Rows:
    """Return the rows of `items`, in their order; of those that break the contract none."""
    good: list[_Checked] = []
    refused: list[tuple[AnnotatedCitation, Exception]] = []
    for item in items:
        try:
            good.append(_check(item, store_text=store_text))
        except (RecordError, UnicodeError) as error:
            refused.append((item, error))
    return Rows(_citation_columns(good, store_text=store_text), _mention_columns(good), refused)


def _check(item: AnnotatedCitation, *, store_text: bool) -> _Checked:
    """Check one citation and its mentions.

    :raises RecordError: on a mention outside the text, or a number that its column cannot hold.
    :raises UnicodeError: on a text that UTF-8 cannot hold.
    """
    text = item.citation.text
    parts = [] if item.annotation is None else _parts(item.annotation, text or "")
    _check_numbers(item.citation)
    if text is None:
        return _Checked(item, None, None, parts)
    if store_text:
        digest = hashlib.sha256(text.encode("utf-8")).hexdigest()
    else:
        digest = text_digest(text)
        "".join(parts).encode("utf-8")
    return _Checked(item, text, digest, parts)


def _parts(annotation: Annotation, text: str) -> list[str]:
    """Return the text of each mention.

    :raises RecordError: on a mention outside the text.
    """
    size = len(text)
    for mention in annotation.mentions:
        if not 0 <= mention.start < mention.end <= size:
            raise RecordError(
                f"a mention covers [{mention.start}, {mention.end}) of a text of {size} code "
                "points; expected a part of it that is not empty"
            )
    return [text[mention.start : mention.end] for mention in annotation.mentions]


def _check_numbers(citation: Citation) -> None:
    """Check what Arrow would refuse for the whole block.

    :raises RecordError: on a number that its column cannot hold.
    """
    values = {"pmid": citation.pmid, "pmid_version": citation.version, "year": citation.year}
    for column, value in values.items():
        bits = _BOUNDS[column]
        if value is not None and not -(2 ** (bits - 1)) <= value < 2 ** (bits - 1):
            raise RecordError(f"{column} {value} does not fit the {bits} bits of its column")


def _citation_columns(rows: Sequence[_Checked], *, store_text: bool) -> Columns:
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


def _mention_columns(rows: Sequence[_Checked]) -> Columns:
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
    """Return each value as often as its count says."""
    return np.repeat(np.array(values, np.int64), counts)
