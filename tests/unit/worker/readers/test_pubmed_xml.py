"""What a record of PubMed XML says: identity, title, abstract, dates, retraction."""

import re
import xml.etree.ElementTree as ET
from datetime import date
from xml.sax.saxutils import escape

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.sample import sample_path
from schemas.records import ALL_VERSIONS, Citation, Section
from tests.support.xml import (
    TAIL,
    article,
    bad_records,
    citation,
    citations,
    document,
    items,
    outline,
)
from worker.readers.formats import ReadRecord


def titled(title: str, inner: str = "") -> str:
    return citation(document(article(title=title, article=inner))).title


def abstract(xml: str) -> tuple[Section, ...]:
    return citation(document(article(article=f"<Abstract>{xml}</Abstract>"))).abstract


def test_identity() -> None:
    data = document(
        b"<PubmedArticle><MedlineCitation><PMID Version='3'> 12 </PMID><Article/>"
        b"<CommentsCorrectionsList><CommentsCorrections RefType='Cites'><PMID>7</PMID>"
        b"</CommentsCorrections></CommentsCorrectionsList></MedlineCitation></PubmedArticle>"
    )
    found = citation(data)
    assert (found.pmid, found.version, found.text) == (12, 3, None)
    assert citation(document(article(5).replace(b' Version="1"', b""))).version == 1
    assert citation(document(article(2**63 - 1))).pmid == 2**63 - 1


@pytest.mark.parametrize(
    "pmid", ["", "0", "-1", "+1", "1.0", "12a", "1 2", "٣", "²", str(2**63), "9" * 5000, "NaN"]
)
def test_a_pmid_that_is_none(pmid: str) -> None:
    data = document(article(pmid), article(2))
    assert outline(data) == ["parse", 2]
    (bad,) = bad_records(data)
    assert bad.error_type == "RecordError"
    assert "PMID" in bad.error
    assert repr(pmid[:20])[:-1] in bad.error
    assert bad.payload == article(pmid)


@pytest.mark.parametrize("version", ["", "0", "32768", "one", "1.5", "-2"])
def test_a_version_that_is_none(version: str) -> None:
    data = document(article(1).replace(b'"1"', f'"{version}"'.encode()))
    (bad,) = bad_records(data)
    assert "version" in bad.error


@pytest.mark.parametrize(
    ("record", "missing"),
    [
        (article(1).replace(b'<PMID Version="1">1</PMID>', b""), "PMID"),
        (b"<PubmedArticle></PubmedArticle>", "MedlineCitation"),
        (b"<PubmedArticle/>", "MedlineCitation"),
        (b"<PubmedBookArticle><PMID>1</PMID></PubmedBookArticle>", "BookDocument"),
        (b"<PubmedBookArticle><BookDocument/></PubmedBookArticle>", "PMID"),
    ],
)
def test_what_a_record_cannot_do_without(record: bytes, missing: str) -> None:
    (bad,) = bad_records(document(record))
    assert (bad.stage, bad.error_type, bad.payload) == ("parse", "RecordError", record)
    assert missing in bad.error


@pytest.mark.parametrize(
    ("xml", "text"),
    [
        ("A <i>b</i> c<sup>2+</sup>.", "A b c2+."),
        ("H<sub>2</sub>O<sub>2</sub>", "H2O2"),
        ("<b>bold <u>under <i>all</i></u></b>", "bold under all"),
        ("a&lt;b &amp; &quot;c&quot; &#945;&#x1D6FC;", 'a<b & "c" α𝛼'),
        ("<![CDATA[<i>as is</i>]]>", "<i>as is</i>"),
        ("x<!-- no --><?no no?>y", "xy"),
        ("  \n  two\n   lines \t and  two  spaces\n ", "two lines \t and  two  spaces"),
        ("a&#13;b&#10;c", "a b c"),
        ("a\r\nb\rc", "a b c"),
        ("\u00a0no-break\u2009thin\u3000wide\u00a0", "\u00a0no-break\u2009thin\u3000wide\u00a0"),
        ("a\u2028b\u0085c", "a\u2028b\u0085c"),
        ("e\u0301 is not \u00e9", "e\u0301 is not \u00e9"),
        ("\U0001d400\U0001f9ec", "\U0001d400\U0001f9ec"),
        (
            '<mml:math xmlns:mml="http://www.w3.org/1998/Math/MathML"><mml:mrow>\n'
            "  <mml:mi>x</mml:mi>\n  <mml:mo>≥</mml:mo>\n  <mml:mn>4</mml:mn></mml:mrow>"
            "</mml:math>!",
            "x ≥ 4!",
        ),
        ("<DispFormula><math><mi>a</mi></math></DispFormula> b", "a b"),
        ("<mml:math><mml:mi>x</mml:mi></mml:math> undeclared", "x undeclared"),
        (
            '<mml:math xmlns:mml="http://www.w3.org/1998/Math/MathML"><mml:semantics><mml:mrow>'
            "<mml:msup><mml:mi>x</mml:mi><mml:mn>2</mml:mn></mml:msup></mml:mrow><mml:annotation"
            ' encoding="application/x-tex">x^{2}</mml:annotation></mml:semantics></mml:math> m',
            "x2 m",
        ),
        (
            "a <math><semantics><mi>y</mi><annotation-xml><ci>y</ci></annotation-xml>\n"
            "<annotation>\\y</annotation></semantics></math><i>b</i>",
            "a y b",
        ),
        ("<math><semantics><annotation>\\alpha</annotation></semantics></math> c", "\\alpha c"),
        ("an <annotation>of mine</annotation>", "an of mine"),
    ],
)
def test_text(xml: str, text: str) -> None:
    assert titled(xml) == text
    assert abstract(f"<AbstractText>{xml}</AbstractText>") == (Section(text),)


MARKUP = st.recursive(
    st.text(
        st.characters(
            codec="utf-8", exclude_categories=["Cc", "Cs"], exclude_characters="\ufffe\uffff"
        ),
        max_size=8,
    ).map(lambda text: (escape(text), text)),
    lambda inner: st.tuples(
        st.sampled_from(["i", "sup", "sub", "b", "u", "mml:mi"]), st.lists(inner, max_size=4)
    ).map(
        lambda made: (
            f'<{made[0]} xmlns:mml="m">' + "".join(xml for xml, _ in made[1]) + f"</{made[0]}>",
            "".join(text for _, text in made[1]),
        )
    ),
    max_leaves=12,
)


@settings(deadline=None, max_examples=50)
@given(parts=st.lists(MARKUP, max_size=5))
def test_flattened_text_is_all_the_text_there_is(parts: list[tuple[str, str]]) -> None:
    xml = "".join(part for part, _ in parts)
    text = "".join(part for _, part in parts)
    assert titled(xml) == text.strip(" ")


@settings(deadline=None, max_examples=50)
@given(text=st.text(st.sampled_from("ab \t\n\r"), max_size=20))
def test_white_space_is_all_that_a_text_can_lose(text: str) -> None:
    found = titled(text.replace("\r", "&#13;"))
    assert "".join(found.split()) == "".join(text.split())
    assert "\n" not in found
    assert "\r" not in found
    assert found == found.strip()


def test_a_title_that_is_missing_gives_way_to_the_vernacular_one() -> None:
    vernacular = "<VernacularTitle>Titre <i>fran\u00e7ais</i></VernacularTitle>"
    for empty in ("", " \n", "[Not Available].", "[Not Available]", "[In Process Citation]"):
        assert titled(empty, vernacular) == "Titre fran\u00e7ais"
    assert titled("[Not Available].") == "[Not Available]."
    assert titled("[French title].", vernacular) == "[French title]."
    assert titled("", "") == ""
    without = article(1, article=vernacular).replace(b"<ArticleTitle>Title.</ArticleTitle>", b"")
    assert citation(document(without)).title == "Titre fran\u00e7ais"


def test_an_abstract_with_sections() -> None:
    xml = (
        '<AbstractText Label="BACKGROUND" NlmCategory="BACKGROUND">One.</AbstractText>'
        '<AbstractText Label="">Two.</AbstractText>'
        "<AbstractText>Three.</AbstractText>"
        '<AbstractText Label="EMPTY"> \n </AbstractText><AbstractText/>'
        '<AbstractText Label=" MATERIALS\nAND  METHODS ">Four.</AbstractText>'
        "<CopyrightInformation>Copyright.</CopyrightInformation>"
    )
    french = other("Publisher", "Autre.", "fre")
    found = citation(document(article(article=f"<Abstract>{xml}</Abstract>", medline=french)))
    assert found.abstract == (
        Section("One.", "BACKGROUND"),
        Section("Two."),
        Section("Three."),
        Section("Four.", "MATERIALS AND  METHODS"),
    )
    assert found.text == ("Title.\nBACKGROUND: One.\nTwo.\nThree.\nMATERIALS AND  METHODS: Four.")


def other(kind: str, text: str, language: str | None = "eng") -> str:
    spoken = "" if language is None else f' Language="{language}"'
    return (
        f'<OtherAbstract Type="{kind}"{spoken}><AbstractText>{text}</AbstractText></OtherAbstract>'
    )


@pytest.mark.parametrize("kind", ["PIP", "KIE", "AIDS", "NASA", "AAMC"])
@pytest.mark.parametrize("empty", ["", "<Abstract/>", "<Abstract><AbstractText/></Abstract>"])
def test_an_abstract_of_nlm_s_partners_stands_in_for_one_that_is_missing(
    kind: str, empty: str
) -> None:
    xml = other("plain-language-summary", "Plain.") + other(kind, "Theirs.") + other("PIP", "Next.")
    assert citation(document(article(article=empty, medline=xml))).abstract == (Section("Theirs."),)
    own = "<Abstract><AbstractText>Own.</AbstractText></Abstract>"
    assert citation(document(article(article=own, medline=xml))).abstract == (Section("Own."),)
    assert citation(document(article(medline=other(kind, "Implied.", None)))).text == (
        "Title.\nImplied."
    )


def test_sections_of_another_abstract_keep_their_labels() -> None:
    xml = other("PIP", 'One.</AbstractText><AbstractText Label="AIM">Two.')
    assert citation(document(article(medline=xml))).text == "Title.\nOne.\nAIM: Two."


@pytest.mark.parametrize(
    "xml",
    [
        other("plain-language-summary", "A medicine was tried."),
        other("Publisher", "Abstract available from the publisher.", "ger"),
        other("Publisher", "Abstract available from the publisher."),
        other("Publisher", "Le bismuth.", "fre"),
        other("PIP", "Una traducción.", "spa"),
        other("", "Of no type."),
    ],
)
def test_other_texts_are_no_abstract(xml: str) -> None:
    assert citation(document(article(medline=xml))).abstract == ()


@pytest.mark.parametrize("xml", ["", "<Abstract/>", "<Abstract><AbstractText/></Abstract>"])
def test_no_abstract(xml: str) -> None:
    found = citation(document(article(article=xml)))
    assert found.abstract == ()
    assert found.text == "Title.\n"


def test_an_abstract_of_five_megabytes_is_read() -> None:
    text = "Aspirin relieves pain. " * 220_000
    assert abstract(f"<AbstractText>{text}</AbstractText>") == (Section(text.strip()),)


@pytest.mark.parametrize(
    ("xml", "retracted"),
    [
        ("<PublicationTypeList><PublicationType>Retracted Publication</PublicationType>", True),
        (
            "<PublicationTypeList><PublicationType>Retraction of Publication</PublicationType>",
            False,
        ),
        ("<PublicationTypeList><PublicationType>Journal Article</PublicationType>", False),
    ],
)
def test_retraction_by_publication_type(xml: str, retracted: bool) -> None:
    other = "<PublicationType>Review</PublicationType></PublicationTypeList>"
    assert citation(document(article(article=xml + other))).retracted is retracted


@pytest.mark.parametrize(
    ("kind", "retracted"),
    [
        ("RetractionIn", True),
        ("RetractedandRepublishedIn", True),
        ("RetractionOf", False),
        ("RetractedandRepublishedFrom", False),
        ("ExpressionOfConcernIn", False),
        ("ErratumIn", False),
    ],
)
def test_retraction_by_reference(kind: str, retracted: bool) -> None:
    xml = (
        '<CommentsCorrectionsList><CommentsCorrections RefType="Cites"/>'
        f'<CommentsCorrections RefType="{kind}"/></CommentsCorrectionsList>'
    )
    assert citation(document(article(medline=xml))).retracted is retracted


@pytest.mark.parametrize(
    ("xml", "revised"),
    [
        ("<Year>2026</Year><Month>01</Month><Day>31</Day>", date(2026, 1, 31)),
        ("<Year>2026</Year><Month>02</Month><Day>31</Day>", None),
        ("<Year>2026</Year><Month>Jan</Month><Day>31</Day>", None),
        ("<Year>2026</Year>", None),
        ("<Year>99999999999999999999</Year><Month>1</Month><Day>1</Day>", None),
        ("", None),
    ],
)
def test_date_revised(xml: str, revised: date | None) -> None:
    medline = f"<DateRevised>{xml}</DateRevised>"
    assert citation(document(article(medline=medline))).date_revised == revised


@pytest.mark.parametrize(
    ("published", "electronic", "year"),
    [
        ("<Year>1998</Year><Month>Dec</Month>", "2001", 1998),
        ("<MedlineDate>1998 Dec-1999 Jan</MedlineDate>", "2001", 1998),
        ("<MedlineDate>Fall 2017</MedlineDate>", "", 2017),
        ("<MedlineDate>Winter</MedlineDate>", "2001", 2001),
        ("<Year>12345</Year>", "", None),
        ("<Season>Summer</Season>", "", None),
        ("", "2001", 2001),
        ("", "", None),
    ],
)
def test_year(published: str, electronic: str, year: int | None) -> None:
    xml = (
        f"<Journal><JournalIssue><PubDate>{published}</PubDate></JournalIssue></Journal>"
        f"<ArticleDate><Year>{electronic}</Year></ArticleDate>"
    )
    assert citation(document(article(article=xml))).year == year


def test_a_book_document() -> None:
    xml = (
        "<PubmedBookArticle><BookDocument><PMID Version='2'>20301469</PMID>"
        "<Book><BookTitle>Book of <i>Genes</i></BookTitle><PubDate><Year>1993</Year></PubDate>"
        "</Book>"
        "TITLE<PublicationType>Review</PublicationType>"
        "<Abstract><AbstractText Label='A'>Text.</AbstractText></Abstract>"
        "<DateRevised><Year>2020</Year><Month>5</Month><Day>4</Day></DateRevised></BookDocument>"
        "<PubmedBookData/></PubmedBookArticle>"
    )
    titles = {
        "": "Book of Genes",
        "<ArticleTitle>Part</ArticleTitle>": "Part",
        "<ArticleTitle/><VernacularTitle>Teil</VernacularTitle>": "Teil",
    }
    for inner, title in titles.items():
        found = citation(document(xml.replace("TITLE", inner).encode()))
        assert (found.pmid, found.version, found.title) == (20301469, 2, title)
        assert (found.year, found.date_revised) == (1993, date(2020, 5, 4))
        assert found.abstract == (Section("Text.", "A"),)
        assert not found.retracted
    retracted = xml.replace("Review", "Retracted Publication").replace("TITLE", "")
    assert citation(document(retracted.encode())).retracted


def test_each_pmid_of_a_deletion_list_is_a_tombstone() -> None:
    listed = (
        b"<DeleteCitation>\n<PMID Version='1'>7</PMID><!-- <PMID>8</PMID> -->\n"
        b"<PMID>x</PMID><PMID Version='2'>9</PMID></DeleteCitation>"
    )
    data = document(article(1), listed)
    assert outline(data) == [1, 7, "parse", 9]
    (bad,) = bad_records(data)
    assert bad.payload == b"<PMID>x</PMID>"
    tombstones = [item.citation for item in items(data)[1:] if isinstance(item, ReadRecord)]
    assert all(found.deleted and found.text is None for found in tombstones)
    assert [found.version for found in tombstones] == [1, 2]
    assert outline(document(b"<DeleteCitation/>")) == []
    assert outline(document(b"<DeleteCitation><PMID>1</DeleteCitation>", article(2))) == [
        "parse",
        2,
    ]


def test_a_deletion_that_names_no_version_is_of_all() -> None:
    found = citations(document(b"<DeleteCitation><PMID>7</PMID></DeleteCitation>"))
    assert found == [Citation(7, ALL_VERSIONS, deleted=True)]
    (bad,) = bad_records(document(b'<DeleteCitation><PMID Version="">7</PMID></DeleteCitation>'))
    assert "version" in bad.error


MEDLINE = (
    b'<?xml version="1.0"?>\n<MedlineCitationSet>\n%b\n<DeleteCitation><PMID Version="1">3</PMID>'
    b"</DeleteCitation>\n</MedlineCitationSet>"
)


def medline(record: bytes) -> bytes:
    """Return what was in an article before there were articles."""
    return record.removeprefix(b"<PubmedArticle>").removesuffix(b"</PubmedArticle>")


def test_the_form_of_before_2017() -> None:
    one, two = article(1, medline=other("PIP", "Theirs.")), article(2)
    found = citations(MEDLINE % (medline(one) + b"\n" + medline(two)))
    assert found == [
        citation(document(one)),
        citation(document(two)),
        Citation(3, 1, deleted=True),
    ]
    broken = medline(two).replace(b"</Article>", b"")
    data = MEDLINE % b"\n".join([medline(one), broken, medline(two)])
    assert outline(data) == [1, "parse", 2, 3]
    assert bad_records(data)[0].payload == broken
    unclosed = medline(one).replace(b"</MedlineCitation>", b"")
    assert outline(MEDLINE % (unclosed + medline(two))) == ["parse", 2, 3]
    assert outline(MEDLINE % medline(one) + document(two)) == [1, 3, 2]
    assert outline(document(one) + MEDLINE % medline(two)) == [1, 2, 3]


def prefixed(record: bytes, declared: str) -> bytes:
    """Return a record whose elements bear the prefix `p`, which its start tag declares or not."""
    tags = re.sub(rb"<(/?)(?=[A-Z])", rb"<\1p:", record)
    return tags.replace(b"<p:PubmedArticle>", f"<p:PubmedArticle{declared}>".encode(), 1)


FULL = article(
    5,
    title="A <i>b</i>",
    article="<Journal><JournalIssue><PubDate><Year>1999</Year></PubDate></JournalIssue></Journal>"
    '<Abstract><AbstractText Label="L">Text</AbstractText></Abstract><PublicationTypeList>'
    "<PublicationType>Retracted Publication</PublicationType></PublicationTypeList>",
    medline="<DateRevised><Year>2020</Year><Month>5</Month><Day>4</Day></DateRevised>",
)


@pytest.mark.parametrize("declared", ["", ' xmlns:p="urn:p"', " xmlns:p='urn:p' a='>'"])
@pytest.mark.parametrize(
    ("head", "tail"),
    [
        ("<PubmedArticleSet>", "</PubmedArticleSet>"),
        ('<p:PubmedArticleSet xmlns:p="urn:p">', "</p:PubmedArticleSet>"),
        ('<p:PubmedArticleSet xmlns="urn:d">', "</p:PubmedArticleSet>"),
    ],
)
def test_namespaces_and_prefixes_tell_nothing(declared: str, head: str, tail: str) -> None:
    record = prefixed(FULL, declared)
    deleted = b"<p:DeleteCitation><p:PMID Version='2'>6</p:PMID></p:DeleteCitation>"
    data = head.encode() + b"\n".join([record, article(1), deleted, record]) + tail.encode()
    whole = citation(document(FULL))
    assert (whole.year, whole.retracted, whole.date_revised) == (1999, True, date(2020, 5, 4))
    assert citations(data) == [
        whole,
        citation(document(article(1))),
        Citation(6, 2, deleted=True),
        whole,
    ]


@pytest.mark.parametrize(
    "element", ["PubmedArticle", "MedlineCitation", "PMID", "Article", "ArticleTitle", "Abstract"]
)
def test_a_default_namespace_anywhere_tells_nothing(element: str) -> None:
    record = re.sub(
        f"<{element}(?=[ >])".encode(), f'<{element} xmlns="urn:d"'.encode(), FULL, count=1
    )
    assert record != FULL
    assert citation(document(record)) == citation(document(FULL))


@pytest.mark.parametrize("declared", ["", ' xmlns:p="urn:p"'])
def test_prefixes_of_attributes_tell_nothing(declared: str) -> None:
    data = (
        f"<p:PubmedArticleSet{declared}><p:DeleteCitation{declared}>"
        '<p:PMID p:Version="2">6</p:PMID><p:PMID p:Version="9" Version="3">7</p:PMID>'
        "</p:DeleteCitation></p:PubmedArticleSet>"
    )
    assert citations(data.encode()) == [
        Citation(6, 2, deleted=True),
        Citation(7, 3, deleted=True),
    ]


def test_prefixes_without_number_are_refused_and_not_looked_up_for_ever() -> None:
    title = "".join(f"<p{n}:i>x</p{n}:i>" for n in range(20_000))
    assert outline(document(article(1, title=title), article(2))) == ["parse", 2]


LAUGHS = (
    b'<?xml version="1.0"?><!DOCTYPE PubmedArticleSet [<!ENTITY a "ha">'
    + b"".join(b'<!ENTITY %c "%s">' % (98 + n, b"&%c;" % (97 + n) * 10) for n in range(9))
    + b'<!ENTITY file SYSTEM "file:///etc/hostname"><!ENTITY % ext SYSTEM "http://127.0.0.1:9/x">'
    b" %ext; ]><PubmedArticleSet>"
)


def test_entities_are_never_expanded() -> None:
    laughs = article(2, title="&j;")
    file = article(3, title="&file;")
    data = LAUGHS + article(1) + laughs + file + article(4) + TAIL
    assert outline(data) == [1, "parse", "parse", 4]
    first, second = bad_records(data)
    assert (first.payload, second.payload) == (laughs, file)
    assert "Entity 'j' not defined" in first.error


def test_nesting_without_end_is_refused() -> None:
    nested = article(1, title="<i>" * 100_000 + "</i>" * 100_000)
    assert outline(document(nested, article(2))) == ["parse", 2]


def test_the_parser_of_the_standard_library_reads_the_same_texts() -> None:
    data = sample_path().read_bytes()
    found = [item.citation for item in items(data) if isinstance(item, ReadRecord)]
    root = ET.fromstring(data)
    texts = ["".join(element.itertext()) for element in root.iter("AbstractText")]
    other = ["".join(element.itertext()) for element in root.findall(".//OtherAbstract/*")]
    assert [section.text for one in found for section in one.abstract] == [
        text for text in texts if text not in other
    ]


def test_a_record_of_very_many_elements_is_a_dead_letter() -> None:
    bomb = article(2).replace(b"</PubmedArticle>", b"<a/>" * 1_000_000 + b"</PubmedArticle>")
    data = document(article(1), bomb, article(3))
    assert outline(data) == [1, "parse", 3]
    (bad,) = bad_records(data)
    assert bad.payload == bomb
    assert "tags" in bad.error
