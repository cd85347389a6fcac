"""Rows in the contract's schemas."""

from dataclasses import replace

import pyarrow as pa

from pipelines.blocks.elements import AnnotatedBlock, AnnotatedCitation, BlockHeader
from pipelines.blocks.keys import BlockKey
from pipelines.blocks.refusals import refuse_unstorable
from pipelines.blocks.tables import (
    Footer,
    block_tables,
    dead_letter_headers,
    in_newest_format,
    revision_of,
)
from schemas.arrow import KINDS
from schemas.records import Annotation, Citation, DeadLetter, Section, SourcePosition, Stage
from tests.support.blocks import NOW, block, dead_letter, mention


def of_one(found: Annotation | None, citation: Citation) -> AnnotatedBlock:
    return AnnotatedBlock(
        BlockHeader(BlockKey("s", 0, 0), "d", complete=True, last=True),
        checkpoint_id="c",
        annotated_at=NOW,
        citations=(AnnotatedCitation(3, citation, found),),
        dead_letters=(),
    )


def test_tables_have_the_schemas_and_are_sorted() -> None:
    tables = block_tables(block([2, 0], dead_letters=[3, 1]), store_text=True)
    assert {kind: tables[kind].schema for kind in tables} == KINDS
    assert tables["citations"]["offset"].to_pylist() == [0, 2]
    assert tables["dead_letters"]["offset"].to_pylist() == [1, 3]
    keys = [(row["offset"], row["start"]) for row in tables["mentions"].to_pylist()]
    assert keys == [(0, 0), (0, 5), (2, 0), (2, 5)]
    for table in tables.values():
        for field in table.schema:
            assert field.nullable or table[field.name].null_count == 0


def test_mentions_are_the_text_they_cover() -> None:
    citation = Citation(7, 2, "α-Syn", (Section("β 🧬 cell"),), retracted=True, year=1999)
    tables = block_tables(
        of_one(Annotation((mention(0, 5), mention(8, 9)), truncated=True), citation),
        store_text=True,
    )
    [row] = tables["citations"].to_pylist()
    found = tables["mentions"].to_pylist()
    assert [(m["text"], m["section"]) for m in found] == [("α-Syn", "title"), ("🧬", "abstract")]
    for m in found:
        assert row["text"][m["start"] : m["end"]] == m["text"]
        assert (m["pmid"], m["pmid_version"], m["offset"]) == (7, 2, 3)
    assert (row["status"], row["mention_count"], row["truncated"]) == ("annotated", 2, True)
    assert (row["retracted"], row["year"], row["date_revised"]) == (True, 1999, None)


def test_tombstones_and_citations_without_text() -> None:
    [row] = block_tables(of_one(None, Citation(7, deleted=True)), store_text=True)[
        "citations"
    ].to_pylist()
    assert (row["status"], row["text"], row["text_sha256"]) == ("deleted", None, None)
    [row] = block_tables(of_one(None, Citation(7)), store_text=True)["citations"].to_pylist()
    assert (row["status"], row["text"], row["mention_count"]) == ("no_text", None, 0)


def test_the_text_can_be_left_out() -> None:
    kept = block_tables(block([0]), store_text=True)["citations"].to_pylist()[0]
    left = block_tables(block([0]), store_text=False)["citations"].to_pylist()[0]
    assert kept["text"] == "Gene 0\nAIM: Body"
    assert left == {**kept, "text": None}


def test_what_breaks_the_contract_is_a_dead_letter() -> None:
    good = Citation(7, title="Title")
    for citation, found, kind in [
        (good, Annotation((mention(3, 8),)), "RecordError"),
        (good, Annotation((mention(2, 2),)), "RecordError"),
        (good, Annotation((mention(-1, 2),)), "RecordError"),
        (Citation(2**63, title="Title"), Annotation(()), "RecordError"),
        (Citation(7, 2**15, title="Title"), Annotation(()), "RecordError"),
        (Citation(7, title="\ud800"), Annotation(()), "UnicodeEncodeError"),
    ]:
        checked = refuse_unstorable(of_one(found, citation), store_text=True)
        tables = block_tables(checked, store_text=True)
        assert tables["citations"].num_rows == tables["mentions"].num_rows == 0
        [row] = tables["dead_letters"].to_pylist()
        assert (row["stage"], row["error_type"], row["offset"]) == ("write", kind, 3)
        assert str(citation.pmid).encode() in row["payload"]


def test_dead_letters_keep_bytes_key_and_headers() -> None:
    full = DeadLetter(
        SourcePosition("t", 2, 9),
        Stage.PARSE,
        "E",
        "bad \ud800",
        b"\xff",
        NOW,
        b"k",
        (("h", b"v"),),
    )
    plain = of_one(None, Citation(7))
    tables = block_tables(
        AnnotatedBlock(plain.header, "c", NOW, (), (full, dead_letter(1))),
        store_text=True,
    )
    row = tables["dead_letters"].to_pylist()[1]
    assert (row["payload"], row["key"], row["headers"]) == (b"\xff", b"k", [("h", b"v")])
    assert row["error"] == "bad \\ud800"
    assert (row["source"], row["partition"], row["offset"], row["seen_at"]) == ("t", 2, 9, NOW)


def test_headers_are_kept_as_they_came_and_each_key_once() -> None:
    headers = (("a", b"1"), ("a", b"2"), ("\udcff", b"x"), ("\udcfe", b"y"), ("none", None))
    plain = of_one(None, Citation(7))
    made = replace(dead_letter(1), headers=headers)
    block = AnnotatedBlock(plain.header, "c", NOW, (), (made,))
    table = block_tables(block, store_text=True)["dead_letters"]
    [row] = table.to_pylist()
    unknown = "\N{REPLACEMENT CHARACTER}"
    assert row["headers"] == [("a", b"2"), (unknown, b"y"), ("none", b"")]
    assert [tuple(x.values()) for x in row["header_list"]] == [
        ("a", None, b"1"),
        ("a", None, b"2"),
        (unknown, b"\xff", b"x"),
        (unknown, b"\xfe", b"y"),
        ("none", None, None),
    ]
    assert dead_letter_headers(row) == headers
    # A file of the first format has all of them in the map.
    old = table.drop_columns(["header_list"])
    assert in_newest_format("dead_letters", old).to_pylist()[0]["header_list"] == [
        {"key": key, "key_bytes": None, "value": value} for key, value in row["headers"]
    ]


def test_footers_survive_and_foreign_metadata_are_none() -> None:
    footer = Footer(BlockKey("ü", 1, 20), 10, "d", "c", "s=1", 7, True, False, "r")
    assert Footer.from_metadata(footer.to_metadata()) == footer
    assert not footer.is_of_older_reader
    older = dict(footer.to_metadata())
    del older[b"pubner.reader_version"]
    assert Footer.from_metadata(older) == replace(footer, reader_version=1)
    assert replace(footer, reader_version=1).is_of_older_reader
    assert Footer.from_metadata(None) is None
    assert Footer.from_metadata({b"pandas": b"{}"}) is None
    assert Footer.from_metadata({**footer.to_metadata(), b"pubner.records": b"x"}) is None


def test_the_revision_is_that_of_the_rows() -> None:
    one = block_tables(block([0, 1]), store_text=True)
    assert revision_of(one) == revision_of(block_tables(block([1, 0]), store_text=True))
    assert revision_of(one) != revision_of(block_tables(block([0, 2]), store_text=True))
    chunked = {kind: pa.concat_tables([t.slice(0, 1), t.slice(1)]) for kind, t in one.items()}
    assert revision_of(one) == revision_of(chunked)
