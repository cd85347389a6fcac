"""Framing: records are cut at the right bytes, and a broken one harms no other."""

import gzip
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.errors import DamagedStreamError
from tests.support.damage import FILES, lost
from tests.support.pubmed import pubmed_parts
from tests.support.xml import HEAD, TAIL, article, bad_records, document, items, outline, pieces
from worker.readers.failures import Failure
from worker.readers.formats import BadRecord, ReadRecord
from worker.readers.framing import MAX_STRAY_BYTES, Frame, Framer
from worker.readers.pubmed_xml import read_pubmed_xml

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
    mark = b"\xef\xbb\xbf"
    assert outline(mark + document(ONE)) == [1]
    assert outline(mark + document(ONE) + mark + document(TWO) + b"\n" + mark * 2) == [1, 2]
    assert outline(mark) == ["read"]


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
    assert "truncated" in bad.error


def test_a_file_that_is_cut_between_records() -> None:
    (bad,) = bad_records(HEAD + ONE + TWO)
    assert bad.offset == 2
    assert bad.stage == "read"
    assert "truncated" in bad.error
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
        document(ONE).decode().encode("utf-16-be"),
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


@pytest.mark.parametrize("name", FILES)
def test_the_sound_files_are_read_whole(name: str) -> None:
    data, records = FILES[name].damaged(0, b"", 0)
    assert lost(data, records) == []
    assert outline(data) == list(range(1, len(records) + 1))


MARKS = [bytes([byte]) for byte in b"#<>\"'/-!?[]:= x\0\xff"]


@settings(deadline=None, max_examples=300)
@given(
    name=st.sampled_from(sorted(FILES)),
    place=st.floats(0, 1, exclude_max=True),
    new=st.sampled_from([b"", *MARKS]) | st.binary(min_size=1, max_size=1),
    removed=st.integers(0, 1),
)
def test_one_damaged_byte_anywhere_loses_no_record(
    name: str, place: float, new: bytes, removed: int
) -> None:
    file = FILES[name]
    data, records = file.damaged(int(place * file.size), new, removed)
    assert lost(data, records) == []


def test_every_byte_lost_or_replaced_by_a_mark_loses_no_record_with_comments_first() -> None:
    file = FILES["comments first in a record, and a quoted end of a tag"]
    for at in range(file.size):
        for new, removed in ((b"", 1), (b"A", 1), (b"<", 1), (b"'", 1), (b"'", 0), (b"/", 0)):
            data, records = file.damaged(at, new, removed)
            assert lost(data, records) == [], data[max(0, at - 20) : at + 20]


RUN_ON = {
    "a quote of the document type": (b'.dtd">', b".dtd#>"),
    "the document type's end": (b'.dtd">', b'.dtd" [>'),
    "a comment before the records": (b"<!-- first -->", b"<!-- first -#>"),
    "a comment between the records": (b"<!-- between -->", b"<!-- between #->"),
    "an instruction between the records": (b"<?between?>", b"<?between#>"),
    "the declaration": (b'"utf-8"?>', b'"utf-8"#>'),
    "the root's attribute": (b"<PubmedArticleSet>", b'<PubmedArticleSet a=">'),
}


@pytest.mark.parametrize("name", RUN_ON)
def test_what_runs_on_before_or_between_records_hides_none(name: str) -> None:
    markup = b"<!-- between --><?between?>"
    records = [article(n, title=f'{n} "x > y" -- "z" ?>') for n in range(1, 7)]
    data = document(b"<!-- first -->", *records[:3], markup, *records[3:], markup)
    before, after = RUN_ON[name]
    assert before in data
    found = outline(data.replace(before, after, 1))
    assert [x for x in found if isinstance(x, int)] == [1, 2, 3, 4, 5, 6]
    assert found.count("parse") == 1  # what is left of the broken markup


@pytest.mark.parametrize(
    ("sound", "broken"),
    [("<!-- x -->", "<!-- x -#>"), ("<![CDATA[x]]>", "<![CDATA[x]#>"), ("<?x ?>", "<?x #>")],
)
def test_what_runs_on_within_a_record_harms_that_record_alone(sound: str, broken: str) -> None:
    first, second = article(1, title=broken), article(2)
    third, fourth = article(3, title=sound), article(4)
    data = document(first, second, third, fourth)
    assert outline(data) == ["parse", 2, 3, 4]
    (bad,) = bad_records(data)
    assert bad.payload.rstrip() == first


def test_markup_that_speaks_of_records_and_ends_is_markup() -> None:
    spoken = b"<!-- a <PubmedArticle> is a record, </PubmedArticle> its end -->"
    whole = b"<!-- " + document(ONE, TWO).replace(b"-//", b"") + b" -->"
    within = article(3, title=f"a<![CDATA[{ONE.decode()}]]>b<!-- {TWO.decode()} -->")
    found = items(document(spoken, whole, ONE, within, whole, spoken))
    assert [type(item) for item in found] == [ReadRecord, ReadRecord]
    assert isinstance(found[1], ReadRecord)
    assert found[1].citation.title == f"a{ONE.decode()}b"


def test_a_damaged_start_tag_keeps_its_record_whole() -> None:
    record = article(1, title="a<!-- x -->b<?pi y?>c<![CDATA[z]]>d", article="<Abstract/>")
    for broken in (
        record.replace(b"<PubmedArticle>", b"<PubmedArtikel>"),
        record.replace(b"<PubmedArticle>", b"PubmedArticle>"),
        record.replace(b"<PubmedArticle>", b"<?ubmedArticle>"),
    ):
        data = document(article(9), broken, TWO)
        assert outline(data) == [9, "parse", 2]
        (bad,) = bad_records(data)
        assert bad.payload == broken


def test_many_openings_that_end_nowhere_or_late_take_no_longer_than_their_bytes() -> None:
    """Each alone would be looked through to the one end, far behind: billions of steps."""
    for opening in (b"<!--", b"<?", b"<![CDATA[", b"<?<", b"<!DOCTYPE x [<!--"):
        close = {b"<!": b"-->", b"<?": b"?>"}[opening[:2]]
        data = document(opening * 40_000, article(1, title=f"a {close.decode()} b"), TWO)
        assert outline(data)[-1] == 2
        inside = article(3, title=(opening * 40_000).decode())
        assert outline(document(inside, *[ONE] * 3, article(4, title="<!-- --><?x ?>"), TWO))[1:] \
            == [1, 1, 1, 4, 2]  # fmt: skip


def test_of_stray_bytes_the_whole_length_is_said() -> None:
    stray = b"x" * (MAX_STRAY_BYTES + 5)
    (bad,) = bad_records(document(stray, ONE))
    assert f"of {len(stray) + 1} bytes the first {MAX_STRAY_BYTES} are kept" in bad.error
    (bad,) = bad_records(document(b"x" * 100, ONE))
    assert "are kept" not in bad.error
    (bad,) = bad_records(document(stray, ONE).replace(b'"utf-8"', b'"utf-9"'))
    assert len(bad.payload) == MAX_STRAY_BYTES
    assert f"bytes the first {MAX_STRAY_BYTES} are kept" in bad.error


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
