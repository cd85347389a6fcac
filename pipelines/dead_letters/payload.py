"""Conversion of a dead letter's payload, for a replay, to a Kafka message or to a citation.

Dead letters of a topic hold a message's original key, headers and value. Dead letters of a file
hold a record's original bytes or, at the stages `annotate` and `write`, the citation as a JSON
message. Dead letters of the stage `read` hold no whole record and cannot be converted.

**Null or empty.** The data set stores a null value as empty bytes. A null value under a valid key
is a tombstone, and never a dead letter of the stage `parse`; so at that stage, empty bytes under a
valid PMID as key were an empty value, and under any other key, or none, are interpreted as null. At
later stages a value that is not null is never empty.
"""

import io
from functools import partial

from pipelines.kafka.messages import decode_record
from schemas.citation_message import to_value
from schemas.errors import InputError, RecordError, RefusedRecordError
from schemas.records import Citation, DeadLetter, Stage
from worker.readers.failures import Failure, parse_record
from worker.readers.fields import checked_pmid
from worker.readers.formats import Format, ReadRecord, detect_format, read_records
from worker.readers.jsonl import parse_message

_JSON_STAGES = (Stage.ANNOTATE, Stage.WRITE)


def citation_of(
    dead_letter: DeadLetter, *, from_topic: bool, format: Format | None = None
) -> Citation:
    """Return the citation, or tombstone, that a dead letter's payload parses to now.

    `format` is that of the dead letter's file; None detects it by the file's name.

    :raises RecordError: if the payload still cannot be parsed.
    """
    if dead_letter.stage == Stage.READ and from_topic:
        raise _no_message()
    if dead_letter.stage == Stage.READ:
        raise RecordError(
            "the dead letter of a file that could not be read holds no whole record; repair the "
            "file, and annotate it again"
        )
    if from_topic or dead_letter.stage in _JSON_STAGES:
        value = original_value(dead_letter)
        found = parse_record(partial(decode_record, dead_letter.key, value), dead_letter.payload)
        if isinstance(found, Failure):
            raise RefusedRecordError(found.error_type, found.error)
        return found
    return _record_of_file(dead_letter, format)


def message_of(dead_letter: DeadLetter, *, from_topic: bool) -> tuple[bytes | None, bytes | None]:
    """Return the key and value of the message for a dead letter.

    A topic's dead letter becomes the original message, whether or not it can be parsed now; if it
    has no key (stages `annotate` and `write`, of which earlier releases stored none), the PMID is
    the key. A file's becomes the message that `pubner feed` would create from the record.

    :raises RecordError: if a file's dead letter still cannot be parsed, or if a topic's is of the
        stage `read`.
    """
    if not from_topic:
        citation = citation_of(dead_letter, from_topic=False)
        return b"%d" % citation.pmid, to_value(citation)
    if dead_letter.stage == Stage.READ:
        raise _no_message()
    value = original_value(dead_letter)
    if dead_letter.key is None and dead_letter.stage in _JSON_STAGES and value is not None:
        found = parse_record(partial(parse_message, value), value)
        return None if isinstance(found, Failure) else b"%d" % found.pmid, value
    return dead_letter.key, value


def original_value(dead_letter: DeadLetter) -> bytes | None:
    """Return a message's original value, null or empty as described in the module's docstring."""
    if dead_letter.payload or (dead_letter.stage == Stage.PARSE and _is_pmid(dead_letter.key)):
        return dead_letter.payload
    return None


def _no_message() -> RecordError:
    return RecordError(
        "the message could not be read from its topic, and the dead letter holds at most raw bytes "
        "of its record batch; have its producer send it again"
    )


def _is_pmid(key: bytes | None) -> bool:
    try:
        checked_pmid((key or b"").decode("ascii"))
    except (UnicodeDecodeError, RecordError):
        return False
    return True


def _record_of_file(dead_letter: DeadLetter, format: Format | None) -> Citation:
    try:
        format = format or detect_format(dead_letter.position.source)
    except InputError as error:
        raise RecordError(str(error)) from error
    data = dead_letter.payload
    if format == Format.PUBMED_XML:
        data = _as_in_a_file(data)
    items = list(read_records(io.BytesIO(data), format))
    if len(items) != 1:
        raise RecordError(
            f"the dead letter's payload holds {len(items)} records, and one was expected; annotate "
            "the file again"
        )
    [item] = items
    if not isinstance(item, ReadRecord):
        raise RefusedRecordError(item.error_type, item.error)
    return item.citation


def _as_in_a_file(data: bytes) -> bytes:
    """Return a record of PubMed XML with enough context to be parsed as in its file."""
    begin = data.lstrip()[:20]
    if begin.startswith(b"<PMID"):
        # An item of a deletion list, which is not a record outside of one.
        return b"<DeleteCitation>" + data + b"</DeleteCitation>"
    if begin.startswith(b"<MedlineCitation"):
        return data
    # So that a citation in an article whose start tag is damaged is not parsed as a record.
    return b"<PubmedArticleSet/>" + data
