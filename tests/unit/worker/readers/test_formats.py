"""Files as records: formats by name, real PubMed files, memory that does not grow."""

import gzip
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from benchmarks.parsing import measure_parsing
from schemas.errors import InputError
from schemas.records import Citation
from tests.support.pubmed import FIRST_PMID, pubmed_parts, write_pubmed
from tests.support.xml import citations, items
from worker.readers.formats import Format, ReadRecord, detect_format, read_records


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("pubmed26n1334.xml.gz", Format.PUBMED_XML),
        ("gs://bucket/a.b/PUBMED.XML", Format.PUBMED_XML),
        ("corpus.PubTator", Format.PUBTATOR),
        ("corpus.pubtator.gz", Format.PUBTATOR),
        ("CDR_TestSet.PubTator.txt", Format.PUBTATOR),
        ("a,b.jsonl", Format.JSONL),
        ("x.ndjson.gz", Format.JSONL),
    ],
)
def test_formats(name: str, found: Format) -> None:
    assert detect_format(name) is found


@pytest.mark.parametrize("name", ["", "xml", "a.xml.md5", "a.txt", "a.json", "a.gz", "a.xml.bz2"])
def test_a_name_without_a_known_format(name: str) -> None:
    with pytest.raises(InputError, match=r"\.xml, \.pubtator, .*\.jsonl, \.ndjson.*\.gz") as caught:
        detect_format(name)
    assert repr(name) in str(caught.value)


def real(data: Path, name: str) -> tuple[bytes, list[Citation]]:
    content = gzip.decompress((data / "pubmed" / f"{name}.xml.gz").read_bytes())
    return content, citations(content)


FILES = {
    # citations, without abstract, with labels, sections, not ASCII, years
    "baseline/pubmed21n0001": (49, 24, 0, 25, 0, {1975}),
    "baseline/pubmed21n1000": (29, 0, 12, 66, 15, {2019}),
    "baseline/pubmed21n1001": (37, 11, 8, 51, 9, {2019, 2020}),
    "baseline/pubmed26n1334": (30, 3, 9, 52, 9, {2024, 2025, 2026}),
    "updatefiles/pubmed26n1335": (30, 1, 11, 66, 18, {2016, 2024, 2025, 2026}),
}


@pytest.mark.parametrize("name", FILES)
def test_real_files(data: Path, name: str) -> None:
    content, read = real(data, name)
    found = [citation for citation in read if not citation.deleted]
    count, without, labelled, sections, beyond, years = FILES[name]
    assert len(found) == count
    assert sum(not citation.abstract for citation in found) == without
    assert sum(any(s.label for s in citation.abstract) for citation in found) == labelled
    assert sum(len(citation.abstract) for citation in found) == sections
    assert sum(not (citation.text or "").isascii() for citation in found) == beyond
    assert {citation.year for citation in found} == years
    assert {citation.version for citation in found} == {1}
    assert all(citation.date_revised for citation in found)

    # Another parser, another way: the whole file as one tree.
    articles = ET.fromstring(content).findall("PubmedArticle/MedlineCitation")
    for citation, article in zip(found, articles, strict=True):
        assert article.findtext("PMID") == str(citation.pmid)
        texts = ["".join(e.itertext()) for e in article.findall("Article/Abstract/AbstractText")]
        assert [" ".join(section.text.split()) for section in citation.abstract] == [
            " ".join(text.split()) for text in texts
        ]
        title = article.find("Article/ArticleTitle")
        assert title is not None
        if title.text:
            assert citation.title == "".join(title.itertext()).strip()


def test_facts_of_a_real_baseline_file(data: Path) -> None:
    by_pmid = {citation.pmid: citation for citation in real(data, "baseline/pubmed26n1334")[1]}
    (flattened,) = [one for one in by_pmid.values() if "O/Au chimeric" in one.title]
    assert flattened.title.startswith("Cu x O/Au chimeric micro-nanoparticles")
    vernacular = by_pmid[41605226]
    assert vernacular.title.startswith("Kommentar zu „ABDOMEN BECKEN – Das Avocado-Zeichen")
    assert vernacular.abstract == ()
    notice = by_pmid[41578200]
    assert "Retraction Note" in notice.title
    assert not notice.retracted
    assert not any(citation.retracted for citation in by_pmid.values())


def test_facts_of_a_real_update_file(data: Path) -> None:
    read = real(data, "updatefiles/pubmed26n1335")[1]
    assert [citation.pmid for citation in read if citation.deleted] == [
        41456105, 41557076, 41616784, 41618748, 41618749, 41618779,
    ]  # fmt: skip
    first = read[0]
    assert first.pmid == 26228458
    assert [section.label for section in first.abstract] == [
        "BACKGROUND", "METHODS", "RESULTS", "CONCLUSIONS",
    ]  # fmt: skip
    assert "mean age (±s.d.) was 47.9" in first.abstract[2].text


def test_real_abstracts_as_jsonl(data: Path) -> None:
    with (data / "abstracts" / "abstracts.jsonl.gz").open("rb") as file:
        found = list(read_records(file, Format.JSONL))
    assert len(found) == 9289
    assert all(isinstance(item, ReadRecord) for item in found)


def test_generated_files_are_realistic_and_the_same_for_a_seed(tmp_path: Path) -> None:
    plain, packed = tmp_path / "a.xml", tmp_path / "a.xml.gz"
    write_pubmed(plain, 50, seed=3)
    write_pubmed(packed, 50, seed=3)
    assert gzip.decompress(packed.read_bytes()) == plain.read_bytes()
    assert plain.read_bytes() != b"".join(pubmed_parts(50, seed=4))
    assert 5_000 < plain.stat().st_size / 50 < 9_000
    found = citations(packed.read_bytes())
    assert [citation.pmid for citation in found] == list(range(FIRST_PMID, FIRST_PMID + 50))
    assert all(1_300 < len(citation.abstract_text) < 2_200 for citation in found)
    assert {len(citation.abstract) for citation in found} == {1, 4}
    assert len({citation.text for citation in found}) == 50


def test_memory_does_not_grow_with_the_file() -> None:
    found = measure_parsing(30_000)
    assert found["citations"] == 30_000
    assert found["peak_rss_mb"] < 300


def test_reading_loads_neither_beam_nor_torch() -> None:
    code = (
        "import sys, worker.readers.formats;"
        "print({'apache_beam', 'torch', 'transformers', 'pyarrow'} & set(sys.modules))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "set()"


def test_an_item_of_the_sample_knows_its_offset() -> None:
    data = b"".join(pubmed_parts(3))
    assert [item.offset for item in items(data)] == [0, 1, 2]
