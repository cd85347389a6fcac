"""Citations as messages that can be read again."""

import json
from datetime import date

from hypothesis import given
from hypothesis import strategies as st

from pipelines.kafka.messages import decode_record
from schemas.citation_message import to_message, to_value
from schemas.records import ALL_VERSIONS, Citation, Section
from worker.readers.jsonl import parse_message

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
TITLE = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n"), max_size=20)
SECTIONS = st.builds(Section, TEXT.filter(bool), st.none() | TEXT.filter(bool))
CITATIONS = st.builds(
    Citation,
    pmid=st.integers(1, 2**63 - 1),
    version=st.integers(1, 2**15 - 1),
    title=TITLE,
    abstract=st.lists(SECTIONS, max_size=3).map(tuple),
    retracted=st.booleans(),
    date_revised=st.none() | st.dates(min_value=date(1800, 1, 1)),
    year=st.none() | st.integers(1, 9999),
)


DELETIONS = st.builds(
    Citation, st.integers(1, 10**9), st.integers(ALL_VERSIONS, 2**15 - 1), deleted=st.just(True)
)


@given(CITATIONS | DELETIONS)
def test_a_message_is_read_as_the_citation_it_was(citation: Citation) -> None:
    assert parse_message(to_message(citation)) == citation


@given(CITATIONS | DELETIONS)
def test_null_is_the_deletion_of_all_versions_and_nothing_else(citation: Citation) -> None:
    value = to_value(citation)
    assert (value is None) == (citation.deleted and citation.version == ALL_VERSIONS)
    assert decode_record(b"%d" % citation.pmid, value) == citation


def test_the_deletion_of_a_version_names_it() -> None:
    fields = json.loads(to_value(Citation(5, 1, deleted=True)) or b"")
    assert fields == {"schema_version": 1, "pmid": 5, "pmid_version": 1, "deleted": True}


def test_a_lone_surrogate_does_not_break_the_message() -> None:
    assert json.loads(to_message(Citation(1, title="a\ud800")))["title"] == "a\ud800"
