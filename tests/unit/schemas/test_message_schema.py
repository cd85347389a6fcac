"""The published schema of a message, and the parser: both take the same."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from jsonschema.validators import extend

from schemas.citation_message import SCHEMA_VERSION, message_schema, to_message
from schemas.errors import RecordError
from tests.unit.schemas.test_citation_message import CITATIONS
from worker.readers.jsonl import parse_message


def is_integer(_: object, value: object) -> bool:
    """As the schema's description says: without fraction or exponent, so 1.0 is none."""
    return isinstance(value, int) and not isinstance(value, bool)


VALIDATOR = extend(  # type: ignore[no-untyped-call]
    Draft202012Validator,
    type_checker=Draft202012Validator.TYPE_CHECKER.redefine("integer", is_integer),
)(message_schema(), format_checker=Draft202012Validator.FORMAT_CHECKER)

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
ODD: st.SearchStrategy[Any] = st.sampled_from(
    [None, True, False, 0, 1, -1, 1.5, 1.0, "", "x", [], {}, ["x"], [None]]
)
INTEGERS = st.integers(-2, 3) | st.sampled_from(
    [2**15 - 1, 2**15, 2**63 - 1, 2**63, 2**70, 9999, 10_000]
)
SECTIONS = st.fixed_dictionaries({}, optional={"text": TEXT | ODD, "label": TEXT | ODD})
DATES = st.sampled_from(
    [
        "2026-01-31",
        "2026-02-31",
        "0000-01-01",
        "0001-01-01",
        "9999-12-31",
        "20260131",
        "2026-1-3",
        "2026-01-31\n",
        " 2026-01-31",
        "2026-01-31T00:00:00",
        "２０２６-01-31",
        "2024-02-29",
        "tomorrow",
    ]
)
MESSAGES = st.fixed_dictionaries(
    {},
    optional={
        "schema_version": INTEGERS | ODD,
        "pmid": INTEGERS | st.integers(1, 10**9) | ODD,
        "pmid_version": INTEGERS | ODD,
        "title": TEXT | ODD,
        "abstract": TEXT | st.lists(SECTIONS | ODD, max_size=3) | ODD,
        "retracted": ODD,
        "date_revised": DATES | ODD,
        "year": INTEGERS | ODD,
        "deleted": ODD,
        "journal": ODD,
    },
)
GOOD = {"pmid": 1, "title": "T", "abstract": "A"}


def is_taken(value: object) -> bool:
    try:
        parse_message(json.dumps(value).encode())
    except RecordError:
        return False
    return True


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(message_schema())
    for example in message_schema()["examples"]:
        assert VALIDATOR.is_valid(example)
        assert is_taken(example)


@settings(deadline=None, max_examples=1500)
@given(MESSAGES | MESSAGES.map(lambda fields: {**GOOD, **fields}) | ODD)
def test_schema_and_parser_take_the_same(value: object) -> None:
    assert is_taken(value) == VALIDATOR.is_valid(value)


@given(CITATIONS)
def test_what_is_sent_is_what_the_schema_allows(citation: Any) -> None:
    message = json.loads(to_message(citation))
    assert VALIDATOR.is_valid(message)
    assert message["schema_version"] == SCHEMA_VERSION


def test_a_newer_version_is_read_where_it_can_be() -> None:
    newer = {**GOOD, "schema_version": 7, "keywords": ["new"]}
    assert parse_message(json.dumps(newer).encode()) == parse_message(json.dumps(GOOD).encode())
    assert VALIDATOR.is_valid(newer)


def test_a_newer_version_that_cannot_be_read_says_so() -> None:
    changed = {"schema_version": 7, "pmid": 1, "title": {"en": "T"}, "abstract": "A"}
    with pytest.raises(RecordError, match=r"title is .*schema_version is 7, newer than 1.*update"):
        parse_message(json.dumps(changed).encode())
    del changed["schema_version"]
    with pytest.raises(RecordError) as caught:
        parse_message(json.dumps(changed).encode())
    assert "schema_version" not in str(caught.value)


@pytest.mark.parametrize("version", [0, -1, "1", 1.0, True, []])
def test_a_version_that_is_none(version: object) -> None:
    with pytest.raises(RecordError, match="schema_version"):
        parse_message(json.dumps({**GOOD, "schema_version": version}).encode())
