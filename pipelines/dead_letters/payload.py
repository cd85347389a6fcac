"""What a dead letter's bytes are, when they are given again: a message, or a citation.

Letters of a topic hold a message's key, headers and value as they came. Letters of a file hold a
record's bytes as they stood in it, or, at the stages `annotate` and `write`, the citation as a JSON
message. Letters of the stage `read` hold no whole record, so nothing can be made of them.

**Null or empty.** The data set writes a null value as empty bytes. A message that is null under a
valid key is a tombstone, and never a dead letter at the stage `parse`; so at that stage empty bytes
under a valid PMID as key were an empty value, and under any other key, or none, are taken for null.
At later stages a value that is not null is never empty.
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


def citation_of(letter: DeadLetter, *, from_topic: bool, format: Format | None = None) -> Citation:
    """Return the citation, or tombstone, that a letter's bytes give now.

    `format` is that of the letter's file; None goes by its name.

    :raises RecordError: if they still give none, and why.
    """
    if letter.stage == Stage.READ and from_topic:
        raise _no_message()
    if letter.stage == Stage.READ:
        raise RecordError(
            "the letter of a file that could not be read holds no whole record; see to the file, "
            "and give it again as an input"
        )
    if from_topic or letter.stage in _JSON_STAGES:
        value = original_value(letter)
        found = parse_record(partial(decode_record, letter.key, value), letter.payload)
        if isinstance(found, Failure):
            raise RefusedRecordError(found.error_type, found.error)
        return found
    return _record_of_file(letter, format)


def message_of(letter: DeadLetter, *, from_topic: bool) -> tuple[bytes | None, bytes | None]:
    """Return the key and value of the message that a letter is, or makes.

    A topic's letter is the message it was, whether or not it can be parsed now; where its key is
    not kept (stages `annotate` and `write`), the PMID is the key. A file's becomes the message that
    `pubner feed` would make of the record.

    :raises RecordError: if a file's letter still gives no citation, or a topic's is no message.
    """
    if not from_topic:
        citation = citation_of(letter, from_topic=False)
        return b"%d" % citation.pmid, to_value(citation)
    if letter.stage == Stage.READ:
        raise _no_message()
    value = original_value(letter)
    if letter.key is None and letter.stage in _JSON_STAGES and value is not None:
        found = parse_record(partial(parse_message, value), value)
        return None if isinstance(found, Failure) else b"%d" % found.pmid, value
    return letter.key, value


def original_value(letter: DeadLetter) -> bytes | None:
    """Return a message's value as it was; null is told from empty as the module says."""
    if letter.payload or (letter.stage == Stage.PARSE and _is_pmid(letter.key)):
        return letter.payload
    return None


def _no_message() -> RecordError:
    return RecordError(
        "the message could not be read from its topic, and the letter holds bytes as Kafka stores "
        "them, if any; have its producer send it again"
    )


def _is_pmid(key: bytes | None) -> bool:
    try:
        checked_pmid((key or b"").decode("ascii"))
    except (UnicodeDecodeError, RecordError):
        return False
    return True


def _record_of_file(letter: DeadLetter, format: Format | None) -> Citation:
    try:
        format = format or detect_format(letter.position.source)
    except InputError as error:
        raise RecordError(str(error)) from error
    data = letter.payload
    if format == Format.PUBMED_XML:
        data = _as_in_a_file(data)
    items = list(read_records(io.BytesIO(data), format))
    if len(items) != 1:
        raise RecordError(
            f"the letter's bytes hold {len(items)} records, and one was expected at its position; "
            "annotate the file again"
        )
    [item] = items
    if not isinstance(item, ReadRecord):
        raise RefusedRecordError(item.error_type, item.error)
    return item.citation


def _as_in_a_file(data: bytes) -> bytes:
    """Return a record of PubMed XML with what its file said before it."""
    begin = data.lstrip()[:20]
    if begin.startswith(b"<PMID"):
        # One item of a deletion list, which is no record outside of one.
        return b"<DeleteCitation>" + data + b"</DeleteCitation>"
    if begin.startswith(b"<MedlineCitation"):
        return data
    # So that a citation within an article whose start tag is damaged is no record.
    return b"<PubmedArticleSet/>" + data
