"""Small PubMed XML for tests of the readers."""

from collections.abc import Iterator
from io import BytesIO

from schemas.records import Citation
from worker.readers.formats import BadRecord, Format, Item, ReadRecord, read_records

HEAD = (
    b'<?xml version="1.0" encoding="utf-8"?>\n'
    b'<!DOCTYPE PubmedArticleSet SYSTEM "http://dtd.nlm.nih.gov/ncbi/pubmed/out/pubmed_190101.dtd">\n'
    b"<PubmedArticleSet>\n"
)
TAIL = b"</PubmedArticleSet>\n"


def article(
    pmid: int | str = 1, *, title: str = "Title.", article: str = "", medline: str = ""
) -> bytes:
    """Return a PubmedArticle; `article` and `medline` are put into the elements of these names."""
    return (
        f'<PubmedArticle><MedlineCitation><PMID Version="1">{pmid}</PMID><Article>'
        f"<ArticleTitle>{title}</ArticleTitle>{article}</Article>{medline}</MedlineCitation>"
        "</PubmedArticle>"
    ).encode()


def document(*records: bytes) -> bytes:
    """Return a whole PubMed file of `records`."""
    return HEAD + b"\n".join(records) + b"\n" + TAIL


def items(data: bytes, form: Format = Format.PUBMED_XML) -> list[Item]:
    """Return what is read from `data`, after a check that the offsets count from 0."""
    found = list(read_records(BytesIO(data), form))
    assert [item.offset for item in found] == list(range(len(found)))
    return found


def citations(data: bytes, form: Format = Format.PUBMED_XML) -> list[Citation]:
    """Return the citations that are read from `data`, which must hold nothing bad."""
    found = items(data, form)
    assert not [item for item in found if isinstance(item, BadRecord)]
    return [item.citation for item in found if isinstance(item, ReadRecord)]


def citation(data: bytes, form: Format = Format.PUBMED_XML) -> Citation:
    """Return the one citation that `data` hold."""
    (found,) = citations(data, form)
    return found


def outline(data: bytes, form: Format = Format.PUBMED_XML) -> list[int | str]:
    """Return the PMID of each good record and the stage of each bad one, in order."""
    return [
        item.citation.pmid if isinstance(item, ReadRecord) else item.stage.value
        for item in items(data, form)
    ]


def bad_records(data: bytes, form: Format = Format.PUBMED_XML) -> list[BadRecord]:
    """Return the bad records of `data`."""
    return [item for item in items(data, form) if isinstance(item, BadRecord)]


def pieces(data: bytes, size: int) -> Iterator[bytes]:
    """Yield `data` in chunks of `size` bytes."""
    return (data[at : at + size] for at in range(0, len(data), size))
