"""One citation as a row of `citations` and rows of `mentions`, checked against the contract."""

import hashlib
from datetime import date
from typing import NamedTuple

from pipelines.records import AnnotatedCitation
from schemas.errors import RecordError
from schemas.records import Citation, CitationStatus, Mention, TextSection, text_digest

_BOUNDS = {"pmid": 64, "pmid_version": 16, "year": 16}


class CitationRow(NamedTuple):
    """What differs from row to row of a block's `citations`."""

    pmid: int
    pmid_version: int
    offset: int
    status: str
    text: str | None
    text_sha256: str | None
    retracted: bool
    date_revised: date | None
    year: int | None
    mention_count: int
    truncated: bool


class MentionRow(NamedTuple):
    """What differs from mention to mention of a citation."""

    task: str
    label: str
    entity_type: str
    start: int
    end: int
    text: str
    section: str
    score: float
    preferred: bool
    checkpoint_id: str


def citation_rows(
    item: AnnotatedCitation, *, store_text: bool
) -> tuple[CitationRow, list[MentionRow]]:
    """Return the rows of one citation.

    :raises RecordError: on a mention outside the text, or a number that its column cannot hold.
    :raises UnicodeError: on a text that UTF-8 cannot hold.
    """
    citation, annotation = item.citation, item.annotation
    text = citation.text
    found = () if annotation is None else annotation.mentions
    title = len(citation.title)
    mentions = [_mention_row(mention, text or "", title) for mention in found]
    _check_numbers(citation)
    if not store_text:
        for mention in mentions:
            mention.text.encode("utf-8")
    row = CitationRow(
        pmid=citation.pmid,
        pmid_version=citation.version,
        offset=item.offset,
        status=_status(item),
        text=text if store_text else None,
        text_sha256=None if text is None else _digest(text, storable=store_text),
        retracted=citation.retracted,
        date_revised=citation.date_revised,
        year=citation.year,
        mention_count=len(mentions),
        truncated=annotation is not None and annotation.truncated,
    )
    return row, mentions


def _status(item: AnnotatedCitation) -> str:
    if item.citation.deleted:
        return CitationStatus.DELETED.value
    if item.annotation is None:
        return CitationStatus.NO_TEXT.value
    return CitationStatus.ANNOTATED.value


def _mention_row(mention: Mention, text: str, title: int) -> MentionRow:
    start, end = mention.start, mention.end
    if not 0 <= start < end <= len(text):
        raise RecordError(
            f"a mention covers [{start}, {end}) of a text of {len(text)} code points; "
            "expected a part of it that is not empty"
        )
    return MentionRow(
        mention.task,
        mention.label,
        str(mention.entity_type),
        start,
        end,
        text[start:end],
        _TITLE if start < title else _ABSTRACT,
        mention.score,
        mention.preferred,
        mention.checkpoint_id,
    )


_TITLE, _ABSTRACT = TextSection.TITLE.value, TextSection.ABSTRACT.value


def _digest(text: str, *, storable: bool) -> str:
    """Return the text's digest; with `storable`, make sure that UTF-8 holds it."""
    return hashlib.sha256(text.encode("utf-8")).hexdigest() if storable else text_digest(text)


def _check_numbers(citation: Citation) -> None:
    """Check what Arrow would refuse for the whole block.

    :raises RecordError: on a number that its column cannot hold.
    """
    values = {"pmid": citation.pmid, "pmid_version": citation.version, "year": citation.year}
    for column, value in values.items():
        bits = _BOUNDS[column]
        if value is not None and not -(2 ** (bits - 1)) <= value < 2 ** (bits - 1):
            raise RecordError(f"{column} {value} does not fit the {bits} bits of its column")
