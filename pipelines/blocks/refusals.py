"""Rejects citations that the output cannot store: they become dead letters of stage `write`.

This happens before the writer, so they follow the dead letters of the other stages, both to the
output and to a dead-letter topic.
"""

from dataclasses import replace

from pipelines.blocks.elements import AnnotatedBlock, AnnotatedCitation
from pipelines.blocks.failures import failed_record
from schemas.errors import RecordError
from schemas.records import Annotation, Citation, DeadLetter, Stage

_BOUNDS = {"pmid": 64, "pmid_version": 16, "year": 16}
"""The width in bits of the integer columns."""


def refuse_unstorable(block: AnnotatedBlock, *, store_text: bool) -> AnnotatedBlock:
    """Return `block` with each citation that the output cannot store turned into a dead letter.

    Such a citation has a mention outside its text, a number that its column cannot hold, or a text
    that UTF-8 cannot encode; without `store_text`, only the texts of mentions are checked.
    """
    citations: list[AnnotatedCitation] = []
    dead_letters: list[DeadLetter] = []
    for item in block.citations:
        try:
            _check(item, store_text=store_text)
        except (RecordError, UnicodeError) as error:
            dead_letters.append(
                failed_record(block.header.key, item, Stage.WRITE, error, block.annotated_at)
            )
        else:
            citations.append(item)
    if not dead_letters:
        return block
    return replace(
        block, citations=tuple(citations), dead_letters=(*block.dead_letters, *dead_letters)
    )


def _check(item: AnnotatedCitation, *, store_text: bool) -> None:
    """Check one citation and its mentions.

    :raises RecordError: on a mention outside the text, or a number that its column cannot hold.
    :raises UnicodeError: on a text that UTF-8 cannot encode.
    """
    text = item.citation.text or ""
    if item.annotation is not None:
        _check_mentions(item.annotation, len(text))
    _check_numbers(item.citation)
    if store_text:
        text.encode("utf-8")
    elif item.annotation is not None:
        for mention in item.annotation.mentions:
            text[mention.start : mention.end].encode("utf-8")


def _check_mentions(annotation: Annotation, size: int) -> None:
    for mention in annotation.mentions:
        if not 0 <= mention.start < mention.end <= size:
            raise RecordError(
                f"a mention covers [{mention.start}, {mention.end}) of a text of {size} code "
                "points; expected a non-empty span within it"
            )


def _check_numbers(citation: Citation) -> None:
    values = {"pmid": citation.pmid, "pmid_version": citation.version, "year": citation.year}
    for column, value in values.items():
        bits = _BOUNDS[column]
        if value is not None and not -(2 ** (bits - 1)) <= value < 2 ** (bits - 1):
            raise RecordError(f"{column} {value} does not fit the {bits} bits of its column")
