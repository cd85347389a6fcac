"""The bundled sample holds what real files hold, and nothing that cannot be read."""

import xml.etree.ElementTree as ET

from pipelines.sample import sample_path
from schemas.records import Citation
from tests.support.xml import citations


def by_identity() -> dict[tuple[int, int], Citation]:
    found = citations(sample_path().read_bytes())
    return {(citation.pmid, citation.version): citation for citation in found}


def test_it_is_one_well_formed_document() -> None:
    root = ET.fromstring(sample_path().read_bytes())
    assert root.tag == "PubmedArticleSet"
    assert len(root.findall("PubmedArticle")) == 27


def test_every_position_gives_a_citation_and_pmids_are_fictitious() -> None:
    found = citations(sample_path().read_bytes())
    assert len(found) == 30
    assert len(by_identity()) == 30
    assert all(99_000_001 <= citation.pmid <= 99_000_099 for citation in found)


def test_it_holds_what_real_files_hold() -> None:
    found = by_identity()
    live = [citation for citation in found.values() if not citation.deleted]
    assert len(live) == 28
    assert [identity[0] for identity, one in found.items() if one.deleted] == [99000090, 99000091]
    assert [identity[0] for identity, one in found.items() if one.retracted] == [99000008]
    assert found[99000009, 1].title.startswith("Retraction notice")
    assert found[99000010, 1].text == "Editorial: Sepsis is not a single disease.\n"
    assert found[99000012, 1].title.startswith("Anémie ferriprive et maladie cœliaque")
    assert found[99000012, 1].year == 1998
    assert found[99000019, 2].date_revised > found[99000019, 1].date_revised  # type: ignore[operator]
    assert found[99000027, 1].title == "Fabry Disease"
    assert sum(any(section.label for section in one.abstract) for one in live) == 5
    assert found[99000015, 1].abstract[-1].label is None
    text = found[99000007, 1].text or ""
    assert text.startswith("Ca2+ entry through Orai1 controls H2O2-induced apoptosis")
    assert "CL=0.06×W0.75" in (found[99000013, 1].text or "")
    assert "𝐴𝑈𝐶≥400" in (found[99000013, 1].text or "")
    assert "𝛼-Tocopherol" in (found[99000024, 1].text or "")
    assert "We gave alcohol" not in (found[99000024, 1].text or "")
