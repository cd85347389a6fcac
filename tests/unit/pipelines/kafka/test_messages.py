"""A Kafka message's key and value."""

import json

import pytest
from hypothesis import given

from pipelines.kafka.messages import decode_record
from schemas.citation_message import to_message
from schemas.errors import RecordError
from schemas.records import ALL_VERSIONS, Citation
from tests.unit.schemas.test_citation_message import CITATIONS

VALUE = json.dumps({"pmid": 12, "title": "T", "abstract": "A"}).encode()


@given(CITATIONS)
def test_what_was_sent(citation: Citation) -> None:
    key = str(citation.pmid).encode()
    assert decode_record(key, to_message(citation)) == citation
    assert decode_record(None, to_message(citation)) == citation
    assert decode_record(key, None) == Citation(citation.pmid, ALL_VERSIONS, deleted=True)


def test_a_deletion_that_is_told_by_a_value() -> None:
    value = json.dumps({"pmid": 12, "pmid_version": 2, "deleted": True}).encode()
    assert decode_record(b"12", value) == Citation(12, 2, deleted=True)


def test_a_key_with_zeros_is_the_same_pmid() -> None:
    assert decode_record(b"0012", VALUE).pmid == 12


@pytest.mark.parametrize("key", [b"", b"x", b"-1", b"0", b"1 2", b"\xff", "１".encode(), b"9" * 30])
def test_a_key_that_is_no_pmid(key: bytes) -> None:
    for value in (VALUE, None):
        with pytest.raises(RecordError, match="the message's key is b"):
            decode_record(key, value)


def test_a_key_of_another_pmid() -> None:
    with pytest.raises(RecordError, match="key is PMID 13, and its value says 12"):
        decode_record(b"13", VALUE)


def test_neither_key_nor_value() -> None:
    with pytest.raises(RecordError, match="neither key nor value"):
        decode_record(None, None)


def test_an_empty_value_is_no_tombstone() -> None:
    with pytest.raises(RecordError, match="not JSON"):
        decode_record(b"12", b"")
