"""PubTator: blocks of lines as citations, and as gold documents that are checked."""

import gzip
import io
from pathlib import Path

import pytest

from schemas.errors import CorpusError
from schemas.records import Citation, Section, Span
from tests.support.xml import bad_records, citations, outline
from worker.readers.formats import Format
from worker.readers.pubtator import GoldDocument, read_gold, read_pubtator

TITLE, ABSTRACT = "Naloxone \u03b1 | and more. ", "It reverses\tcoma|a| or not."
BLOCK = (
    f"12|t|{TITLE}\n12|a|{ABSTRACT}\n"
    "12\t0\t8\tNaloxone\tChemical\tD009270\n"
    "12\t36\t40\tcoma\tDisease\tD1|D2\tco|ma\n"
    "12\tCID\tD009270\tD003128\n"
)


def gold(text: str) -> GoldDocument:
    (found,) = read_gold(io.BytesIO(text.encode()))
    return found


def test_a_document_is_a_citation() -> None:
    found = Citation(12, title=TITLE, abstract=(Section(ABSTRACT),))
    data = ("\ufeff" + BLOCK + "\n\n" + BLOCK.replace("12", "13").replace("\n", "\r\n")).encode()
    for content in (data, gzip.compress(data)):
        first, second = citations(content, Format.PUBTATOR)
        assert first == found
        assert (second.pmid, second.text) == (13, found.text)


def test_a_document_may_lack_an_abstract_and_annotations() -> None:
    first, second = citations(b"1|t|Only a title\n \n2|t|\n2|a|\n", Format.PUBTATOR)
    assert (first.text, second.text) == ("Only a title\n", None)


def test_control_characters_stay_so_that_offsets_hold() -> None:
    (found,) = citations(b"1|t|a\x00b\x0bc\x1cd\xc2\x85e\n1|a|\x01\n", Format.PUBTATOR)
    assert found.text == "a\x00b\x0bc\x1cd\x85e\n\x01"


@pytest.mark.parametrize(
    ("block", "reason"),
    [
        ("x|t|Title", "PMID"),
        ("|t|Title", "PMID"),
        ("0|t|Title", "PMID"),
        ("1|a|No title", "no title"),
        ("1|t|One\n1|t|Two", "two lines 1|t|"),
        ("1|t|One\n2|a|Two", "a line of '2'"),
        ("1|t|One\n2\t0\t3\tOne\tDisease", "a line of '2'"),
        ("1|t|One\nplain text", "'plain text'"),
        ("1|t|One\n1\t0\t3", "annotation"),
    ],
)
def test_a_document_that_cannot_be_used(block: str, reason: str) -> None:
    data = f"{BLOCK}\n{block}\n\n{BLOCK}".encode()
    assert outline(data, Format.PUBTATOR) == [12, "parse", 12]
    (bad,) = bad_records(data, Format.PUBTATOR)
    assert reason in bad.error
    assert bad.payload == block.encode()
    with pytest.raises(CorpusError, match="document 2: "):
        list(read_gold(io.BytesIO(data)))


def test_a_document_that_is_not_utf_8() -> None:
    data = b"1|t|Caf\xe9\n\n" + BLOCK.encode()
    assert outline(data, Format.PUBTATOR) == ["parse", 12]
    assert bad_records(data, Format.PUBTATOR)[0].payload == b"1|t|Caf\xe9"


def test_gzip_that_is_cut_is_one_bad_record() -> None:
    blocks = [BLOCK.replace("12", str(n * 7919)) for n in range(1, 400)]
    compressed = gzip.compress("\n".join(blocks).encode())
    data = compressed[: len(compressed) // 2]
    found = outline(data, Format.PUBTATOR)
    assert len(found) > 50
    assert found[-1] == "read"
    assert "parse" not in found
    (bad,) = bad_records(data, Format.PUBTATOR)
    assert blocks[len(found) - 1].encode().startswith(bad.payload.rstrip(b"\n"))
    with pytest.raises(CorpusError, match="truncated"):
        list(read_gold(io.BytesIO(data)))


@pytest.mark.parametrize("line", [b"2\t" + b"x" * 300, b"\n".join([b"2\t0\t1\tx\tD"] * 30)])
def test_a_document_over_the_limit(line: bytes) -> None:
    large = b"2|t|Title\n2|a|Text\n" + line + b"\n2\t0\t3\tTit\tDisease"
    chunks = [b"1|t|One\n\n" + large + b"\n\n3|t|Three"]
    first, bad, last = read_pubtator(chunks, max_record_bytes=200)
    assert isinstance(first, Citation)
    assert not isinstance(bad, Citation)
    assert bad.payload == large[:200]
    assert isinstance(last, Citation)
    assert last.pmid == 3


def test_a_document_of_very_many_lines_is_one_dead_letter_with_its_bytes() -> None:
    lines = b"2|t|Title\n" + b"ab\n" * 300_000
    first, bad, last = read_pubtator([b"1|t|One\n\n" + lines + b"\n3|t|Three"])
    assert isinstance(first, Citation)
    assert not isinstance(bad, Citation)
    assert bad.payload == lines.rstrip(b"\n")
    assert "300001 lines" in bad.error
    assert isinstance(last, Citation)
    many = b"2|t|Title\n" + b"2\t0\t1\tT\tD\n" * 20_000
    assert [x for x in read_pubtator([many]) if isinstance(x, Citation)] == [
        Citation(2, title="Title")
    ]


def test_gold_spans_are_offsets_into_the_text() -> None:
    found = gold(BLOCK)
    assert found.problems == ()
    assert found.spans == (Span(0, 8, "Chemical"), Span(36, 40, "Disease"))
    assert [found.text[span.start : span.end] for span in found.spans] == ["Naloxone", "coma"]
    assert found.text == f"{TITLE}\n{ABSTRACT}"


def test_a_mention_may_cross_the_separator() -> None:
    found = gold("1|t|type\n1|a|two\n1\t0\t8\ttype two\tDisease\tD1\n")
    assert found.spans == (Span(0, 8, "Disease"),)


@pytest.mark.parametrize(
    ("annotation", "reason"),
    [
        ("1\t0\t3\ttwo\tDisease", "where the text is 'One'"),
        ("1\t0\t99\tOne\tDisease", "outside the 4 characters"),
        ("1\t3\t3\t\tDisease", "outside"),
        ("1\t-1\t3\tOne\tDisease", "outside"),
        ("1\t0\t3\tOne", "lacks"),
        ("1\t0\tthree\tOne\tDisease", "lacks"),
    ],
)
def test_an_annotation_that_does_not_hold_is_a_problem(annotation: str, reason: str) -> None:
    found = gold(f"1|t|One\n{annotation}\n1\t1\t3\tne\tChemical\n")
    assert found.spans == (Span(1, 3, "Chemical"),)
    (problem,) = found.problems
    assert problem.startswith("1: ")
    assert reason in problem


@pytest.mark.parametrize(
    ("name", "documents", "spans", "problems"),
    [
        ("BC5CDR_train", 500, 9383, 0),
        ("BC5CDR_devel", 500, 9591, 0),
        ("NCBIdisease_train", 593, 5144, 1),
        ("NCBIdisease_devel", 100, 787, 0),
    ],
)
def test_the_real_corpora(data: Path, name: str, documents: int, spans: int, problems: int) -> None:
    with (data / "pubtator" / f"{name}.PubTator").open("rb") as file:
        found = list(read_gold(file))
        file.seek(0)
        read = list(read_pubtator(file))
    assert len(found) == documents
    assert sum(len(document.spans) for document in found) == spans
    assert [document.text for document in found] == [
        citation.text for citation in read if isinstance(citation, Citation)
    ]
    wrong = [problem for document in found for problem in document.problems]
    assert len(wrong) == problems
    if wrong:
        assert wrong[0].startswith("10923035: 'generalized epilepsy and febrile seizures ")
        assert "711-761" in wrong[0]
