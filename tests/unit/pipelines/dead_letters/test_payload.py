"""Conversion of a dead letter's payload to a message or a citation."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.dead_letters.payload import citation_of, message_of, original_value
from pipelines.kafka.messages import decode_record
from schemas.citation_message import to_message
from schemas.errors import RecordError
from schemas.records import ALL_VERSIONS, Citation, DeadLetter, Section, SourcePosition, Stage
from tests.support.blocks import NOW
from worker.readers.formats import Format

CITATION = Citation(5, 2, "Title", (Section("Body", "AIM"),))


def dead_letter(
    payload: bytes,
    *,
    stage: Stage = Stage.PARSE,
    source: str = "t",
    key: bytes | None = None,
) -> DeadLetter:
    return DeadLetter(SourcePosition(source, 0, 3), stage, "E", "e", payload, NOW, key)


def test_a_message_is_what_it_was() -> None:
    poison = dead_letter(b"{", key=b"5")
    assert message_of(poison, from_topic=True) == (b"5", b"{")
    with pytest.raises(RecordError, match="not JSON"):
        citation_of(poison, from_topic=True)
    mended = dead_letter(to_message(CITATION), key=b"5")
    assert citation_of(mended, from_topic=True) == CITATION
    with pytest.raises(RecordError, match="key is PMID 6"):
        citation_of(dead_letter(to_message(CITATION), key=b"6"), from_topic=True)


def test_a_record_batch_is_no_message() -> None:
    batch = dead_letter(b"\0\0\0", stage=Stage.READ)
    for give in (citation_of, message_of):
        with pytest.raises(RecordError, match="have its producer send it again"):
            give(batch, from_topic=True)


@given(st.one_of(st.none(), st.binary(max_size=4), st.just(b"12")))
def test_null_and_empty_are_distinguished_where_only_one_is_possible(key: bytes | None) -> None:
    """Under a key where null is a tombstone, no dead letter was null."""
    found = original_value(dead_letter(b"", key=key))
    try:
        decode_record(key, None)
    except RecordError:
        assert found is None
    else:
        assert found == b""


def test_at_later_stages_nothing_is_empty() -> None:
    assert original_value(dead_letter(b"", stage=Stage.WRITE, key=b"5")) is None
    assert message_of(dead_letter(b"", stage=Stage.WRITE, key=b"5"), from_topic=True) == (
        b"5",
        None,
    )


def test_a_dead_letter_of_the_tagger_gets_the_pmid_as_key() -> None:
    for stage in (Stage.ANNOTATE, Stage.WRITE):
        found = dead_letter(to_message(CITATION), stage=stage)
        assert message_of(found, from_topic=True) == (b"5", to_message(CITATION))
        assert citation_of(found, from_topic=True) == CITATION
    assert message_of(dead_letter(b"{", stage=Stage.WRITE), from_topic=True) == (None, b"{")


XML = (
    b'<PubmedArticle><MedlineCitation><PMID Version="2">5</PMID><Article><ArticleTitle>Title'
    b'</ArticleTitle><Abstract><AbstractText Label="AIM">Body</AbstractText></Abstract></Article>'
    b"</MedlineCitation></PubmedArticle>"
)


@pytest.mark.parametrize(
    ("source", "payload", "expected"),
    [
        ("a.xml.gz", XML, CITATION),
        ("a.xml", b'<PMID Version="1">7</PMID>', Citation(7, deleted=True)),
        ("a.xml", b"<PMID>7</PMID>", Citation(7, ALL_VERSIONS, deleted=True)),
        ("a.xml", XML[len("<PubmedArticle>") : -len("</PubmedArticle>")], CITATION),
        ("a.jsonl", to_message(CITATION), CITATION),
        ("a.pubtator", b"5|t|Title\n5|a|Body", Citation(5, 1, "Title", (Section("Body"),))),
    ],
)
def test_a_record_of_a_file(source: str, payload: bytes, expected: Citation) -> None:
    found = dead_letter(payload, source=source)
    assert citation_of(found, from_topic=False) == expected
    key, value = message_of(found, from_topic=False)
    assert key == b"%d" % expected.pmid
    assert decode_record(key, value) == expected
    assert (value is None) == (expected.version == ALL_VERSIONS)


def test_the_format_may_be_another_than_the_name_says() -> None:
    found = dead_letter(to_message(CITATION), source="a.xml")
    assert citation_of(found, from_topic=False, format=Format.JSONL) == CITATION


@pytest.mark.parametrize(
    ("source", "payload", "stage", "reason"),
    [
        ("a.xml", XML.replace(b">5<", b">x<"), Stage.PARSE, "PMID"),
        ("a.xml", XML + XML, Stage.PARSE, "payload holds 2 records"),
        ("a.xml", XML.replace(b"PubmedArticle>", b"PubmedArtikel>"), Stage.PARSE, "outside any"),
        ("a.jsonl", b"", Stage.PARSE, "payload holds 0 records"),
        ("a.txt", XML, Stage.PARSE, "no known format"),
        ("a.xml", XML, Stage.READ, "holds no whole record"),
    ],
)
def test_a_record_that_still_fails(source: str, payload: bytes, stage: Stage, reason: str) -> None:
    found = dead_letter(payload, source=source, stage=stage)
    with pytest.raises(RecordError, match=reason):
        citation_of(found, from_topic=False)
    with pytest.raises(RecordError, match=reason):
        message_of(found, from_topic=False)


def test_nesting_of_any_depth_fails_as_one_dead_letter() -> None:
    for depth in range(700, 1000):
        payload = b'{"pmid": ' + b"[" * depth + b"]" * depth + b"}"
        with pytest.raises(RecordError):
            citation_of(dead_letter(payload, key=b"5"), from_topic=True)
        found = dead_letter(payload, stage=Stage.WRITE)
        assert message_of(found, from_topic=True) == (None, payload)
