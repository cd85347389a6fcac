"""Synthetic PubMed XML of realistic size, written as a stream."""

import gzip
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Final

FIRST_PMID: Final = 98_000_001
_ABSTRACT_CHARACTERS: Final = 1_500
_GENES = ("TP53", "BRCA1", "interleukin-6", "NF-κB", "EGFR", "tumor necrosis factor α", "MYC")
_DISEASES = (
    "breast cancer",
    "type 2 diabetes",
    "Sjögren syndrome",
    "hepatocellular carcinoma",
    "asthma",
    "acute renal failure",
    "Parkinson disease",
)
_CHEMICALS = (
    "metformin",
    "cisplatin",
    "Ca<sup>2+</sup>",
    "dexamethasone",
    "H<sub>2</sub>O<sub>2</sub>",
)
_CELLS = (
    "HeLa cells",
    "CD4<sup>+</sup> T cells",
    "<i>Escherichia coli</i>",
    "Jurkat cells",
    "neurons",
)
_VERBS = ("reduced", "increased", "was associated with", "did not change", "predicted", "modulated")
_TAILS = (
    "in a randomised trial of adult patients",
    "after adjustment for age and sex (P &lt; 0.05)",
    "as measured by quantitative real-time PCR",
    "in a retrospective cohort followed for five years",
    "compared with untreated controls",
)
_LABELS = ("BACKGROUND", "METHODS", "RESULTS", "CONCLUSIONS")
_NAMES = ("Aldoré", "Brinkmann", "Castellanoz", "Dahlbergh", "Eskelund", "Fontaneli", "Grzymkov")
_HEADINGS = ("Humans", "Animals", "Female", "Male", "Adult", "Mice", "Risk Factors", "Prognosis")
_PLACE = "Department of Internal Medicine, University Hospital of Nowhere, 12345 Nowhere, Utopia."


def write_pubmed(
    path: Path, citations: int, *, seed: int = 0, first_pmid: int = FIRST_PMID
) -> None:
    """Write `citations` synthetic citations to `path`, gzip where its name ends in `.gz`.

    A record has some 6 kB: an abstract of some 1,500 characters, structured in every other one,
    authors with affiliations, MeSH headings, identifiers and references. The same arguments give
    the same XML. Memory does not grow with `citations`.
    """
    parts = pubmed_parts(citations, seed=seed, first_pmid=first_pmid)
    if path.suffix == ".gz":
        with gzip.open(path, "wb", compresslevel=1) as packed:
            packed.writelines(parts)
    else:
        with path.open("wb") as plain:
            plain.writelines(parts)


def pubmed_parts(citations: int, *, seed: int = 0, first_pmid: int = FIRST_PMID) -> Iterator[bytes]:
    """Yield the XML that `write_pubmed` writes: the head, each record, the tail."""
    generator = random.Random(seed)
    yield (
        b'<?xml version="1.0" encoding="utf-8"?>\n'
        b'<!DOCTYPE PubmedArticleSet PUBLIC "-//NLM//DTD PubMedArticle, 1st January 2025//EN" '
        b'"https://dtd.nlm.nih.gov/ncbi/pubmed/out/pubmed_250101.dtd">\n<PubmedArticleSet>\n'
    )
    for pmid in range(first_pmid, first_pmid + citations):
        yield _record(generator, pmid).encode()
    yield b"</PubmedArticleSet>\n"


def _sentence(generator: random.Random) -> str:
    pick = generator.choice
    return (
        f"{pick(_CHEMICALS)} {pick(_VERBS)} {pick(_GENES)} expression in {pick(_CELLS)} from"
        f" patients with {pick(_DISEASES)} {pick(_TAILS)}."
    )


def _abstract(generator: random.Random, structured: bool) -> str:
    labels = _LABELS if structured else ("",)
    parts = []
    for label in labels:
        sentences: list[str] = []
        while sum(map(len, sentences)) < _ABSTRACT_CHARACTERS // len(labels):
            sentences.append(_sentence(generator))
        attributes = f' Label="{label}" NlmCategory="{label}"' if label else ""
        parts.append(f"<AbstractText{attributes}>{' '.join(sentences)}</AbstractText>")
    return f"<Abstract>{''.join(parts)}</Abstract>"


def _record(generator: random.Random, pmid: int) -> str:
    pick = generator.choice
    year = generator.randint(1990, 2025)
    authors = "".join(
        f'<Author ValidYN="Y"><LastName>{pick(_NAMES)}</LastName><ForeName>Ada B</ForeName>'
        f"<Initials>AB</Initials><AffiliationInfo><Affiliation>{_PLACE}</Affiliation>"
        "</AffiliationInfo></Author>"
        for _ in range(6)
    )
    headings = "".join(
        f'<MeshHeading><DescriptorName UI="D{generator.randint(1, 99999):06}" MajorTopicYN="N">'
        f'{pick(_HEADINGS)}</DescriptorName><QualifierName UI="Q000235" MajorTopicYN="Y">genetics'
        "</QualifierName></MeshHeading>"
        for _ in range(8)
    )
    references = "".join(
        f"<Reference><Citation>Eskelund E, et al. J Imag Med. {year - n};{n}(2):1{n}-2{n}."
        f'</Citation><ArticleIdList><ArticleId IdType="pubmed">{pmid - n}</ArticleId>'
        "</ArticleIdList></Reference>"
        for n in range(1, 7)
    )
    return (
        '<PubmedArticle><MedlineCitation Status="MEDLINE" Owner="NLM">'
        f'<PMID Version="1">{pmid}</PMID><DateRevised><Year>{year}</Year><Month>11</Month>'
        '<Day>20</Day></DateRevised><Article PubModel="Print"><Journal>'
        '<ISSN IssnType="Print">0000-0000</ISSN><JournalIssue CitedMedium="Print"><Volume>12'
        f"</Volume><Issue>3</Issue><PubDate><Year>{year}</Year><Month>Mar</Month></PubDate>"
        "</JournalIssue><Title>Journal of imaginary medicine</Title><ISOAbbreviation>J Imag Med"
        f"</ISOAbbreviation></Journal><ArticleTitle>{_sentence(generator)}</ArticleTitle>"
        "<Pagination><MedlinePgn>101-9</MedlinePgn></Pagination>"
        f"{_abstract(generator, structured=pmid % 2 == 0)}"
        f'<AuthorList CompleteYN="Y">{authors}</AuthorList><Language>eng</Language>'
        '<PublicationTypeList><PublicationType UI="D016428">Journal Article</PublicationType>'
        "</PublicationTypeList></Article><MedlineJournalInfo><Country>Utopia</Country>"
        "<MedlineTA>J Imag Med</MedlineTA><NlmUniqueID>0000001</NlmUniqueID></MedlineJournalInfo>"
        f"<CitationSubset>IM</CitationSubset><MeshHeadingList>{headings}</MeshHeadingList>"
        "</MedlineCitation><PubmedData><History>"
        f'<PubMedPubDate PubStatus="pubmed"><Year>{year}</Year><Month>3</Month><Day>1</Day>'
        "</PubMedPubDate></History><PublicationStatus>ppublish</PublicationStatus>"
        f'<ArticleIdList><ArticleId IdType="pubmed">{pmid}</ArticleId></ArticleIdList>'
        f"<ReferenceList>{references}</ReferenceList></PubmedData></PubmedArticle>\n"
    )
