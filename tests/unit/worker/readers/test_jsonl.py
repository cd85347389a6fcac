"""JSON as citations: what is needed, what may be missing, what is refused."""

import gzip
import json
import tracemalloc
from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.errors import RecordError
from schemas.records import ALL_VERSIONS, Citation, Section
from tests.support.xml import bad_records, citation, citations, items, outline
from worker.readers.failures import Failure
from worker.readers.formats import BadRecord, Format
from worker.readers.jsonl import parse_message, read_jsonl

FULL = {
    "schema_version": 1,
    "pmid": 12,
    "pmid_version": 3,
    "title": "A title \u03b1 \U0001d6fc",
    "abstract": [{"label": "AIM", "text": "One."}, {"label": None, "text": "Two."}, {"text": ""}],
    "retracted": True,
    "date_revised": "2026-01-31",
    "year": 2025,
    "deleted": False,
    "journal": {"ignored": [1, None]},
}


def encoded(**fields: object) -> bytes:
    return json.dumps({"pmid": 1, "title": "T", "abstract": "A", **fields}).encode()


def test_every_field() -> None:
    assert parse_message(json.dumps(FULL).encode()) == Citation(
        pmid=12,
        version=3,
        title="A title \u03b1 \U0001d6fc",
        abstract=(Section("One.", "AIM"), Section("Two.")),
        retracted=True,
        date_revised=date(2026, 1, 31),
        year=2025,
    )


def test_what_may_be_missing_or_null() -> None:
    least = Citation(1, title="T", abstract=(Section("A"),))
    optional = ("pmid_version", "retracted", "date_revised", "year", "deleted")
    assert parse_message(encoded()) == least
    assert parse_message(encoded(**dict.fromkeys(optional))) == least
    assert parse_message(encoded(abstract="", title="")).text is None
    assert parse_message(encoded(abstract=[])).text == "T\n"


def test_a_tombstone_needs_no_text() -> None:
    everything = Citation(7, ALL_VERSIONS, deleted=True)
    assert parse_message(b'{"pmid": 7, "deleted": true}') == everything
    assert parse_message(b'{"pmid": 7, "deleted": true, "pmid_version": null}') == everything
    for version in (1, 3):
        value = json.dumps({"pmid": 7, "deleted": True, "pmid_version": version}).encode()
        assert parse_message(value) == Citation(7, version, deleted=True)
    assert parse_message(encoded(deleted=True, pmid_version=2)).text is None


def test_strings_are_kept_as_they_are() -> None:
    text = " e\u0301 \u0000\u0001\u0085\u2028\t\r "
    found = parse_message(encoded(title=text, abstract=text + "\n"))
    assert found.title == text
    assert found.abstract == (Section(text + "\n"),)


def test_a_line_feed_in_a_title_becomes_a_space() -> None:
    assert parse_message(encoded(title="a\nb\n")).text == "a b \nA"


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"pmid": "1"}, "pmid"),
        ({"pmid": 1.0}, "pmid"),
        ({"pmid": True}, "pmid"),
        ({"pmid": None}, "pmid"),
        ({"pmid": 0}, "PMID"),
        ({"pmid": -5}, "PMID"),
        ({"pmid": 2**63}, "PMID"),
        ({"pmid_version": 0}, "version"),
        ({"pmid_version": "1"}, "pmid_version"),
        ({"pmid_version": 40_000}, "version"),
        ({"title": None}, "title"),
        ({"title": 5}, "title"),
        ({"title": ["T"]}, "title"),
        ({"title": "\ud800"}, "title holds an unpaired surrogate"),
        ({"abstract": None}, "abstract"),
        ({"abstract": {"text": "A"}}, "abstract"),
        ({"abstract": "x\udfffy"}, "abstract holds an unpaired surrogate"),
        ({"abstract": ["A"]}, "a part of abstract"),
        ({"abstract": [{"label": "A"}]}, "a part of abstract has no text"),
        ({"abstract": [{"text": "A", "label": 1}]}, "label"),
        ({"abstract": [{"text": "A", "label": "\udc00"}]}, "label holds an unpaired surrogate"),
        ({"abstract": [{"text": "\udc00"}]}, "text holds an unpaired surrogate"),
        ({"retracted": "yes"}, "retracted"),
        ({"retracted": 1}, "retracted"),
        ({"deleted": "true"}, "deleted"),
        ({"date_revised": 20260131}, "date_revised"),
        ({"date_revised": "20260131"}, "date_revised"),
        ({"date_revised": "2026-W05-6"}, "date_revised"),
        ({"date_revised": "2026-02-31"}, "date_revised"),
        ({"year": "2025"}, "year"),
        ({"year": 0}, "year"),
        ({"year": 40_000}, "year"),
        ({"year": True}, "year"),
    ],
)
def test_a_mistyped_field(fields: dict[str, object], named: str) -> None:
    with pytest.raises(RecordError, match=named):
        parse_message(encoded(**fields))


@pytest.mark.parametrize("name", ["pmid", "title", "abstract"])
def test_a_missing_field(name: str) -> None:
    fields = json.loads(encoded())
    del fields[name]
    with pytest.raises(RecordError, match=f"no {name}"):
        parse_message(json.dumps(fields).encode())


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"{} {}", "not JSON"),
        (b"null", "a JSON null"),
        (b"[]", "a JSON array"),
        (b"1.5", "a JSON number"),
        (b"7", "a JSON number"),
        (b"true", "a JSON boolean"),
        (b'"text"', "a JSON string"),
        (b'{"pmid": 1, "title": "\x01", "abstract": ""}', "not JSON"),
        (b'{"pmid": 1, "title": "\xe9", "abstract": ""}', "not UTF-8"),
        (b'{"pmid": 1, "title": "\xed\xa0\x80", "abstract": ""}', "not UTF-8"),
        (encoded().decode().encode("utf-16"), "not UTF-8"),
        (b'{"pmid": ' + b"9" * 5000 + b"}", "not JSON"),
        (b'{"pmid": ' + b"[" * 200_000, "nested"),
    ],
)
def test_what_is_no_message(data: bytes, reason: str) -> None:
    with pytest.raises(RecordError, match=reason):
        parse_message(data)


@settings(deadline=None, max_examples=50)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(sorted(FULL)), inner),
        max_leaves=12,
    )
)
def test_any_json_is_a_citation_or_a_record_error(value: object) -> None:
    try:
        found = parse_message(json.dumps(value).encode())
    except RecordError:
        return
    assert isinstance(value, dict)
    assert found.pmid == value["pmid"]


@pytest.mark.parametrize("field", ["schema_version", *FULL])
@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
def test_nesting_of_any_depth_is_that_line_s_failure(
    field: str, opening: str, closing: str
) -> None:
    """At one depth, which hangs on the height of the stack, what is read cannot be written."""
    lines = [encoded(pmid=7)]
    for depth in range(100, 1100):
        nested = opening * depth + "1" + closing * depth
        lines.append(encoded().removesuffix(b"}") + f', "{field}": {nested}}}'.encode())
    lines.append(encoded(pmid=8))
    first, *between, last = read_jsonl([b"\n".join(lines)])
    assert isinstance(first, Citation)
    assert isinstance(last, Citation)
    assert len(between) == 1000
    for line, found in zip(lines[1:], between, strict=False):
        if isinstance(found, Citation):
            assert field == "journal"
        else:
            assert found.payload == line
            assert len(found.error) < 200


@pytest.mark.parametrize(
    "value",
    ["9" * 4000, "1e999", "NaN", "-Infinity", '"' + "x" * 10**6 + '"', '{"' + "k" * 10**6 + '": 1}',
     '["' + "x" * 10**6 + '"]', '"\\ud800"', '"\\u001b[31m"'],
)  # fmt: skip
@pytest.mark.parametrize("field", ["schema_version", "pmid", "pmid_version", "year", "deleted"])
def test_a_wrong_value_is_described_in_few_and_plain_words(field: str, value: str) -> None:
    title = 5 if field == "schema_version" else "T"  # a newer version is wrong by itself never
    fields = encoded(title=title).decode().removesuffix("}") + f', "{field}": {value}}}'
    with pytest.raises(RecordError) as caught:
        parse_message(fields.encode())
    assert len(str(caught.value)) < 300
    assert str(caught.value).isprintable()


def test_a_value_that_holds_others_is_told_by_its_size() -> None:
    with pytest.raises(RecordError, match=r"^year is an array of 3 values; expected an integer"):
        parse_message(encoded(year=[1, [2], {}]))
    with pytest.raises(RecordError, match=r"^title is an object of 1 fields; expected a string"):
        parse_message(encoded(title={"en": [[]]}))


def test_lines() -> None:
    bad = b'{"pmid": 2}'
    data = b"\n".join([b"\xef\xbb\xbf" + encoded(), b"", b"  ", bad + b"\r", encoded(pmid=3)])
    for content in (data, data + b"\n", gzip.compress(data)):
        assert outline(content, Format.JSONL) == [1, "parse", 3]
        (found,) = bad_records(content, Format.JSONL)
        assert found.payload == bad
        assert found.error_type == "RecordError"
    assert citations(b"", Format.JSONL) == []
    assert citation(encoded(), Format.JSONL).pmid == 1


def test_unicode_line_breaks_do_not_end_a_line() -> None:
    data = '{"pmid": 1, "title": "a\u2028b\u0085c", "abstract": ""}'.encode()
    assert citation(data, Format.JSONL).title == "a\u2028b\u0085c"


def test_gzip_that_is_cut_ends_with_the_unfinished_line() -> None:
    lines = [encoded(pmid=n, title=str(n * 7919 % 10007)) for n in range(1, 2000)]
    compressed = gzip.compress(b"\n".join(lines))
    *good, last = items(compressed[: len(compressed) // 2], Format.JSONL)
    assert len(good) > 500
    assert isinstance(last, BadRecord)
    assert last.stage == "read"
    assert lines[len(good)].startswith(last.payload)


@pytest.mark.parametrize("size", [1, 7, 40, 10_000])
def test_a_line_over_the_limit(size: int) -> None:
    data = encoded() + b"\n" + encoded(pmid=2, title="x" * 500) + b"\n" + encoded(pmid=3)
    chunks = [data[at : at + size] for at in range(0, len(data), size)]
    first, bad, last = read_jsonl(chunks, max_record_bytes=100)
    assert isinstance(first, Citation)
    assert not isinstance(bad, Citation)
    assert bad.payload == encoded(pmid=2, title="x" * 500)[:100]
    assert "100 bytes" in bad.error
    assert f"has {len(encoded(pmid=2, title='x' * 500))} bytes" in bad.error
    assert isinstance(last, Citation)
    *_, bad = read_jsonl([*chunks, b"y" * 500], max_record_bytes=100)
    assert not isinstance(bad, Citation)
    assert len(bad.payload) == 100


@pytest.mark.parametrize(
    "values", [b"[]," * 400_000, b'{"":1},' * 400_000, b'"",' * 900_000, b"1," * 900_000]
)
def test_a_large_message_of_many_values_is_refused_before_it_is_parsed(values: bytes) -> None:
    data = b'{"pmid":1,"title":"T","abstract":"A","x":[' + values + b"0]}"
    tracemalloc.start()
    try:
        with pytest.raises(RecordError, match=f"{len(data)} bytes and more than 200000 JSON"):
            parse_message(data)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2**20


def test_a_large_text_is_no_many_values() -> None:
    text = 'a, [b] {c} \\ \n"' * 200_000
    assert parse_message(encoded(abstract=text)).abstract == (Section(text),)
    many = [{"text": "x" * 300, "label": None}] * 4_000
    assert len(parse_message(encoded(abstract=many)).abstract) == 4_000


@pytest.mark.parametrize("data", [b'"' + b'\\"' * 2_000_000, b'"a' * 2_000_001, b'["' * 2_000_000])
def test_large_messages_that_are_no_json_are_refused(data: bytes) -> None:
    with pytest.raises(RecordError):
        parse_message(data)


def test_a_byte_order_mark_between_joined_files_is_no_record() -> None:
    one = b"\xef\xbb\xbf" + encoded() + b"\r\n"
    assert outline(one * 3 + b"\xef\xbb\xbf" * 2 + b"\n", Format.JSONL) == [1, 1, 1]
    text = b"\xef\xbb\xbf1|t|T\n1|a|A\n\n"
    assert outline(text * 3 + b"\xef\xbb\xbf", Format.PUBTATOR) == [1, 1, 1]


def test_a_failure_names_its_line_blank_ones_counted() -> None:
    lines = encoded() + b"\n\n{\n \n" + encoded() + b"\n{}"
    found = [x for x in read_jsonl([lines]) if isinstance(x, Failure)]
    assert [x.error.partition(": ")[0] for x in found] == ["line 3", "line 6"]
