"""Decoder of a Kafka message's key and value into a citation."""

from schemas.errors import RecordError
from schemas.records import ALL_VERSIONS, Citation
from worker.readers.fields import checked_pmid
from worker.readers.jsonl import parse_message

_SHOWN = 40


def decode_record(key: bytes | None, value: bytes | None) -> Citation:
    """Return the citation of a message or, if its value is null, the tombstone of all versions.

    The key is the PMID in ASCII digits; a message with a value may have none.

    :raises RecordError: if the value violates the schema (see `parse_message`), if the key is not a
        PMID or not the value's PMID, or if both key and value are null.
    """
    if value is None:
        if key is None:
            raise RecordError("the message has neither key nor value; a PMID was expected as key")
        return Citation(_pmid(key), ALL_VERSIONS, deleted=True)
    citation = parse_message(value)
    if key is not None and key != b"%d" % citation.pmid and _pmid(key) != citation.pmid:
        raise RecordError(
            f"the message's key is PMID {_pmid(key)}, and its value says {citation.pmid}; the "
            "same was expected"
        )
    return citation


def _pmid(key: bytes) -> int:
    try:
        return checked_pmid(key.decode("ascii"))
    except (UnicodeDecodeError, RecordError) as error:
        raise RecordError(
            f"the message's key is {key[:_SHOWN]!r}; a PMID in ASCII digits was expected"
        ) from error
