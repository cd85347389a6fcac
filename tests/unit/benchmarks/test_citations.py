"""The citations that are measured on: fair to slow rows, and the same in every form."""

from pathlib import Path

import pytest

from benchmarks.citations import (
    BenchCitation,
    cut_citations,
    load_citations,
    mixed,
    repeated,
    save_citations,
    write_xml,
)
from worker.readers.formats import Format, ReadRecord, read_records


def some(count: int) -> list[BenchCitation]:
    body = "Iron is bad. Zinc <is> good & cheap! Is copper? It was seen in mice."
    return [BenchCitation(n + 1, f"Title {n}", body, pieces=10 + 5 * n) for n in range(count)]


@pytest.mark.parametrize("count", [1, 2, 7, 100])
def test_mixing_loses_none(count: int) -> None:
    assert sorted(item.pmid for item in mixed(some(count))) == list(range(1, count + 1))


def test_any_window_of_mixed_citations_is_as_long_as_all() -> None:
    citations = mixed(some(128))
    mean = sum(item.pieces for item in citations) / len(citations)
    for start in range(0, 128, 16):
        window = citations[start : start + 16]
        assert sum(item.pieces for item in window) / 16 == pytest.approx(mean, rel=0.15)


def test_repeated_citations_have_pmids_of_their_own() -> None:
    found = repeated(some(3), 7)
    assert [item.pmid for item in found] == [1, 2, 3, 4, 5, 6, 7]
    assert [item.title for item in found] == [f"Title {n}" for n in (0, 1, 2, 0, 1, 2, 0)]


def test_the_xml_is_read_as_the_same_texts(tmp_path: Path) -> None:
    citations = some(3)
    write_xml(tmp_path / "a.xml", citations)
    with (tmp_path / "a.xml").open("rb") as file:
        read = [
            item.citation
            for item in read_records(file, Format.PUBMED_XML)
            if isinstance(item, ReadRecord)
        ]
    assert [(item.pmid, item.text) for item in read] == [(x.pmid, x.text) for x in citations]


def test_another_process_gets_the_same(tmp_path: Path) -> None:
    save_citations(tmp_path / "c.json", some(4))
    assert load_citations(tmp_path / "c.json") == some(4)


def test_cut_citations_differ_from_round_to_round_and_are_the_same_by_seed() -> None:
    found = list(cut_citations(some(5), 50, share=0.5))
    assert found == list(cut_citations(some(5), 50, share=0.5))
    assert [item.pmid for item in found] == list(range(1, 51))
    assert len({item.text for item in found}) > 15
    assert all(item.abstract in some(1)[0].abstract for item in found)
    whole = sum(len(item.abstract) for item in some(50))
    assert 0.3 * whole < sum(len(item.abstract) for item in found) < 0.7 * whole
    uncut = cut_citations(some(5), 5, share=1)
    assert {item.abstract for item in uncut} == {some(1)[0].abstract}
