"""Framing: records are cut at the right bytes, and a broken one harms no other."""

import gzip
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.errors import DamagedStreamError
from tests.support.pubmed import pubmed_parts
from tests.support.xml import HEAD, TAIL, article, bad_records, document, items, outline, pieces
from worker.readers.failures import Failure
from worker.readers.framing import MAX_STRAY_BYTES, Frame, Framer
from worker.readers.pubmed_xml import read_pubmed_xml
from worker.readers.records import BadRecord, ReadRecord

ONE, TWO, THREE = article(1), article(2), article(3)


def frames(data: bytes, size: int = 2**20, limit: int = 2**20) -> list[Frame | Failure]:
    return list(Framer(pieces(data, size), max_record_bytes=limit))


def names(found: list[Frame | Failure]) -> list[str]:
    return [frame.name.decode() if isinstance(frame, Frame) else frame.stage for frame in found]


def test_records_are_cut_at_their_tags() -> None:
    book = b"<PubmedBookArticle>\n<BookDocument><PMID>4</PMID></BookDocument></PubmedBookArticle>"
    delete = b'<DeleteCitation x="1>0">\n<PMID>5</PMID></DeleteCitation >'
    data = document(ONE, book, TWO, delete)
    assert frames(data) == [
        Frame(b"PubmedArticle", ONE),
        Frame(b"PubmedBookArticle", book),
        Frame(b"PubmedArticle", TWO),
        Frame(b"DeleteCitation", delete),
    ]


@pytest.mark.parametrize("root", ["PubmedArticleSet", "PubmedBookArticleSet", "BookDocumentSet"])
def test_an_empty_set_has_no_records(root: str) -> None:
    assert frames(f"<{root}></{root}>".encode()) == []
    assert frames(f'<?xml version="1.0"?>\n<{root} a="b"/>\n<!-- end -->'.encode()) == []


def test_records_without_a_root_and_files_one_after_the_other() -> None:
    assert outline(ONE + b"\n" + TWO) == [1, 2]
    assert outline(document(ONE) + document(TWO)) == [1, 2]
    assert outline(b"\xef\xbb\xbf" + document(ONE)) == [1]


def test_a_book_document_outside_a_book_article_is_a_record() -> None:
    data = b"<BookDocumentSet><BookDocument><PMID>7</PMID></BookDocument><DeleteDocument>" \
        b"<PMID>8</PMID></DeleteDocument></BookDocumentSet>"  # fmt: skip
    assert outline(data) == [7, 8]


def test_tags_that_are_no_tags_do_not_count() -> None:
    hidden = b"</PubmedArticle><PubmedArticle><DeleteCitation>"
    record = article(1, title="a<!--HIDDEN-->b<![CDATA[HIDDEN]]>c<?pi HIDDEN?>").replace(
        b"HIDDEN", hidden
    )
    between = b"<!-- " + ONE + b" --><?pi " + ONE + b"?>"
    data = document(between, record, between, TWO, between)
    assert names(frames(data)) == ["PubmedArticle", "PubmedArticle"]
    first, second = items(data)
    assert isinstance(first, ReadRecord)
    assert isinstance(second, ReadRecord)
    assert first.citation.title == f"ab{hidden.decode()}c"
    assert second.citation.pmid == 2


def test_a_document_type_may_hold_anything() -> None:
    doctype = (
        b'<!DOCTYPE PubmedArticleSet [ <!-- ]> \' " --> <!ENTITY a "]><PubmedArticle>">'
        b"<?pi ]> ?><!ENTITY b ']>'> ] >"
    )
    assert outline(b'<?xml version="1.0"?>' + doctype + b"<PubmedArticleSet>" + ONE + TAIL) == [1]


@settings(deadline=None, max_examples=30)
@given(
    order=st.lists(st.integers(0, 8), max_size=12),
    size=st.integers(1, 400),
    tail=st.booleans(),
)
def test_the_size_of_chunks_makes_no_difference(order: list[int], size: int, tail: bool) -> None:
    kinds = [
        ONE,
        article(2, title="a<!-- </PubmedArticle> -->b"),
        article(3, title="<![CDATA[<PubmedArticle>]]>"),
        b"<DeleteCitation><PMID>4</PMID><PMID>5</PMID></DeleteCitation>",
        b"<PubmedBookArticle><BookDocument><PMID>6</PMID></BookDocument></PubmedBookArticle>",
        b"<PubmedArticle/>",
        b"<PubmedArticle><MedlineCitation>",  # broken
        b"stray & bytes </PubmedArticle>",
        b"<!-- a comment -->" + b" " * 100,
    ]
    data = HEAD + b"\n".join(kinds[kind] for kind in order) + (TAIL if tail else b"")
    assert frames(data, size) == frames(data)
    assert frames(data, 1) == frames(data)


@settings(deadline=None, max_examples=30)
@given(size=st.integers(1, 9000), start=st.integers(0, 3))
def test_realistic_records_come_out_as_they_went_in(size: int, start: int) -> None:
    parts = list(pubmed_parts(5, seed=start))
    found = frames(b"".join(parts), size)
    assert [frame.data for frame in found if isinstance(frame, Frame)] == [
        part.strip() for part in parts[1:-1]
    ]


BROKEN = {
    "no end tag": ONE.replace(b"</PubmedArticle>", b""),
    "wrong end tag": ONE.replace(b"</PubmedArticle>", b"</PubmedBookArticle>"),
    "comment": ONE.replace(b"Title.", b"Title <!-- never closed"),
    "cdata": ONE.replace(b"Title.", b"Title <![CDATA[ never closed"),
    "instruction": ONE.replace(b"Title.", b"Title <?pi never closed"),
    "mismatch": ONE.replace(b"</Article>", b"</Artikel>"),
    "ampersand": ONE.replace(b"Title.", b"Q & A"),
    "less than": ONE.replace(b"Title.", b"p < 0.05"),
    "attribute": ONE.replace(b"<PubmedArticle>", b'<PubmedArticle a="1>'),
    "not UTF-8": ONE.replace(b"Title.", b"Caf\xe9 \xff\xfe"),
    "surrogate": ONE.replace(b"Title.", b"\xed\xa0\x80"),
    "control character": ONE.replace(b"Title.", b"Title\x0b."),
    "NUL": ONE.replace(b"Title.", b"Title\x00."),
    "reference to a control character": ONE.replace(b"Title.", b"Title&#1;."),
    "unknown entity": ONE.replace(b"Title.", b"Title&nbsp;."),
    "unknown prefix": ONE.replace(b"Title.", b"<mml:math>x</mml:math>"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_one_broken_record_harms_no_other(name: str) -> None:
    data = document(article(10), BROKEN[name], TWO, THREE)
    assert outline(data) == [10, "parse", 2, 3]
    (bad,) = bad_records(data)
    assert bad.payload.rstrip() == BROKEN[name]
    assert bad.error_type in {"XMLSyntaxError", "RecordError"}
    assert bad.error


@pytest.mark.parametrize("name", BROKEN)
def test_the_last_record_may_be_the_broken_one(name: str) -> None:
    data = document(ONE, TWO, BROKEN[name])
    found = items(data)
    assert [type(item) for item in found[:2]] == [ReadRecord, ReadRecord]
    assert len(found) == 3
    bad = found[2]
    assert isinstance(bad, BadRecord)
    assert bad.payload.startswith(BROKEN[name])


def test_an_end_tag_that_is_missing_within_a_record_is_named() -> None:
    (bad,) = bad_records(document(BROKEN["no end tag"], TWO))
    assert "no end tag </PubmedArticle>" in bad.error
    (bad,) = bad_records(document(BROKEN["comment"], TWO))
    assert "opens <!--" in bad.error


def test_bytes_outside_any_record_are_not_lost() -> None:
    corrupt = ONE.replace(b"<PubmedArticle>", b"<PubmedArtikel>")
    data = document(corrupt, TWO, b"<![CDATA[text]]> and more", THREE, b"&&&")
    assert outline(data) == ["parse", 2, "parse", 3, "parse"]
    first, second, third = bad_records(data)
    assert first.payload == corrupt
    assert second.payload == b"<![CDATA[text]]> and more"
    assert third.payload == b"&&&"
    assert "outside any record" in first.error


def test_of_stray_bytes_only_so_many_are_kept() -> None:
    (bad,) = bad_records(document(b"x" * (3 * MAX_STRAY_BYTES), ONE))
    assert len(bad.payload) == MAX_STRAY_BYTES


@pytest.mark.parametrize(
    "opening", [b"<!-- ", b"<?pi ", b"<![CDATA[", b"<!DOCTYPE x [ ", b'<!DOCTYPE x [ <!-- "']
)
def test_markup_that_is_never_closed_between_records_hides_none(opening: bytes) -> None:
    assert outline(document(ONE, opening, TWO, THREE)) == [1, "parse", 2, 3]


@pytest.mark.parametrize(
    ("content", "payload"),
    [
        (b"", b""),
        (b"\n \n", b""),
        (b"PMID,title\n1,none\n", b"PMID,title\n1,none"),
        (b'<?xml version="1.0"?>\n<html><p>404</p></html>', b"<html><p>404</p></html>"),
    ],
)
def test_what_is_no_pubmed_is_one_bad_record(content: bytes, payload: bytes) -> None:
    (bad,) = bad_records(content)
    assert bad.stage == "read"
    assert "PubmedArticleSet" in bad.error
    assert bad.payload == payload


@pytest.mark.parametrize("kept", range(1, len(TWO) + 1, 7))
def test_a_file_that_is_cut(kept: int) -> None:
    data = HEAD + ONE + TWO[:kept]
    assert outline(data) == [1, "read"]
    (bad,) = bad_records(data)
    assert bad.payload == TWO[:kept]
    assert "cut" in bad.error


def test_a_file_that_is_cut_between_records() -> None:
    (bad,) = bad_records(HEAD + ONE + TWO)
    assert bad.offset == 2
    assert bad.stage == "read"
    assert "cut" in bad.error
    assert bad.payload == b""


@pytest.mark.parametrize("kept", [0.3, 0.6, 0.9])
def test_gzip_that_is_cut(kept: float) -> None:
    parts = list(pubmed_parts(40))
    compressed = gzip.compress(b"".join(parts))
    *good, bad = items(compressed[: int(len(compressed) * kept)])
    assert len(good) > 5
    assert all(isinstance(item, ReadRecord) for item in good)
    assert isinstance(bad, BadRecord)
    assert bad.stage == "read"
    assert bad.error_type == "DamagedStreamError"
    assert parts[len(good) + 1].startswith(bad.payload)


def test_a_damaged_stream_between_records() -> None:
    def chunks(data: bytes) -> Iterator[bytes]:
        yield data
        raise DamagedStreamError("broken")

    found = list(Framer(chunks(HEAD + ONE + b"\n<Pub")))
    assert found[0] == Frame(b"PubmedArticle", ONE)
    (bad,) = found[1:]
    assert isinstance(bad, Failure)
    assert bad.stage == "read"
    assert bad.payload == b"<Pub"


@pytest.mark.parametrize("size", [50, 1000, 100_000])
def test_a_record_over_the_limit(size: int) -> None:
    huge = article(9, title="x" * 5000)
    for data, after in [
        (document(ONE, huge, TWO), 1),
        (document(ONE, huge.replace(b"</PubmedArticle>", b""), TWO), 1),
        (document(ONE, huge.replace(b"xxx", b"<!--", 1), TWO), 1),
        (document(ONE, huge), 0),
        (HEAD + ONE + b"\n" + huge[:-9], 0),
    ]:
        found = frames(data, size, limit=2000)
        assert found[0] == Frame(b"PubmedArticle", ONE)
        bad = found[1]
        assert isinstance(bad, Failure)
        assert bad.payload == data[data.index(ONE) + len(ONE) + 1 :][:2000]
        assert "2000 bytes" in bad.error
        good = [frame for frame in found[2:] if isinstance(frame, Frame)]
        assert good == [Frame(b"PubmedArticle", TWO)] * after
        assert len(found) == 2 + after + (not data.endswith(TAIL))
    bad = frames(document(ONE, huge, TWO), size, limit=2000)[1]
    assert isinstance(bad, Failure)
    assert f"the record has {len(huge)} bytes" in bad.error


@pytest.mark.parametrize(
    ("encoding", "python"),
    [
        ("UTF-8", "utf-8"),
        ("utf8", "utf-8"),
        ("UTF", "utf-8"),
        ("utf-8-sig", "utf-8"),
        ("us-ascii", "ascii"),
        ("ISO-8859-1", "latin-1"),
        ("latin1", "latin-1"),
        ("iso-8859-15", "iso-8859-15"),
        ("windows-1252", "cp1252"),
        ("cp1251", "cp1251"),
        *[(f"iso-8859-{n}", "ascii") for n in (*range(2, 12), *range(13, 17))],
        *[(f"windows-125{n}", "ascii") for n in range(9)],
    ],
)
def test_encodings_that_are_read(encoding: str, python: str) -> None:
    title = {"ascii": "cafe", "cp1251": "йод"}.get(python, "café ß")
    head = f"<?xml version='1.0' encoding='{encoding}'?><PubmedArticleSet>".encode()
    record = article(1, title=title).decode().encode(python)
    (found,) = items(head + record + TAIL)
    assert isinstance(found, ReadRecord)
    assert found.citation.title == title


@pytest.mark.parametrize(
    "data",
    [
        document(ONE).decode().encode("utf-16"),
        document(ONE).decode().encode("utf-16-le"),
        document(ONE).decode().encode("utf-32"),
        document(ONE).replace(b'"utf-8"', b'"shift_jis"'),
        document(ONE).replace(b'"utf-8"', b'"nonsense"'),
        document(ONE).replace(b'"utf-8"', b'"utf-7"'),
        document(ONE).replace(b'"utf-8"', b'"cp037"'),
    ],
)
def test_encodings_that_are_refused(data: bytes) -> None:
    (bad,) = bad_records(data)
    assert bad.stage == "read"
    assert "UTF-8" in bad.error
    assert bad.payload == data


def test_prefixes_that_the_root_declares_hold_for_each_record() -> None:
    record = article(1, title="<mml:math><mml:mi>x</mml:mi></mml:math>")
    root = b'<PubmedArticleSet xmlns:mml="http://www.w3.org/1998/Math/MathML">'
    assert outline(root + record + TAIL) == [1]


TOKENS = [
    *(b"<!--", b"-->", b"<![CDATA[", b"]]>", b"<?", b"?>", b"<!DOCTYPE ", b"[", b"]"),
    *(b"<PubmedArticle>", b"</PubmedArticle>", b"<PubmedArticleSet>", b"</PubmedArticleSet>"),
    *(b"<DeleteCitation>", b'"', b"'", b"<", b">", b"/>", b"&", b"\xff", b"\x00", b""),
    *(b"<?xml version='1.0' encoding='latin1'?>", b"<?xml version='1.0' encoding='utf'?>"),
]


@settings(deadline=None, max_examples=60)
@given(
    edits=st.lists(
        st.tuples(st.floats(0, 1), st.sampled_from(TOKENS), st.sampled_from([0, 1, 5, 40])),
        max_size=4,
    ),
    size=st.integers(1, 300),
    limit=st.sampled_from([150, 300, 2**20]),
)
def test_whatever_is_broken_nothing_is_raised(
    edits: list[tuple[float, bytes, int]], size: int, limit: int
) -> None:
    data = document(ONE, article(2, title="a<!-- x -->b<![CDATA[z]]>"), THREE)
    for place, token, removed in edits:
        at = int(place * len(data))
        data = data[:at] + token + data[at + removed :]
    found = list(read_pubmed_xml([data], max_record_bytes=limit))
    assert list(read_pubmed_xml(pieces(data, size), max_record_bytes=limit)) == found
