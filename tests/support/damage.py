"""PubMed files with one byte damaged, and what became of each of their records."""

from collections.abc import Sequence
from dataclasses import dataclass

from schemas.records import Citation
from tests.support.xml import HEAD, TAIL, article
from worker.readers.failures import Failure
from worker.readers.pubmed_xml import read_pubmed_xml

SUBSET = (
    b'<!DOCTYPE PubmedArticleSet PUBLIC "-//NLM//DTD PubMedArticle//EN" "http://x/pubmed.dtd" [\n'
    b'<!ENTITY a "v > w"> <!-- a ] > comment --> <?pi ]> ?> <!ENTITY b \'"\'> ]>\n'
)
MEDLINE = b'<?xml version="1.0"?>\n<MedlineCitationSet>\n'
MEDLINE_TAIL = b"</MedlineCitationSet>\n"


def medline(pmid: int, title: str) -> bytes:
    """Return a record of the form of before 2017."""
    return (
        f'<MedlineCitation Status="MEDLINE" Owner="NLM"><PMID Version="1">{pmid}</PMID><Article>'
        f"<ArticleTitle>{title}</ArticleTitle></Article></MedlineCitation>"
    ).encode()


@dataclass(frozen=True, slots=True)
class Pieces:
    """A file in pieces: `records` says which of them are records."""

    pieces: tuple[bytes, ...]
    records: frozenset[int]

    def damaged(self, at: int, new: bytes, removed: int) -> tuple[bytes, list[bytes]]:
        """Return the file with `removed` bytes at `at` replaced by `new`, and its records so."""
        found: list[bytes] = []
        data, begin = bytearray(), 0
        for number, piece in enumerate(self.pieces):
            inner = at - begin
            begin += len(piece)
            if 0 <= inner < len(piece):
                if not inner and not removed:
                    data += new  # between two pieces
                else:
                    piece = piece[:inner] + new + piece[inner + removed :]
            data += piece
            if number in self.records:
                found.append(piece)
        return bytes(data), found

    @property
    def size(self) -> int:
        """Bytes of the whole file."""
        return sum(map(len, self.pieces))


def pieces(*parts: bytes | tuple[bytes, ...]) -> Pieces:
    """Return a file of `parts`; those in tuples are records, one after the other."""
    flat: list[bytes] = []
    records: set[int] = set()
    for part in parts:
        for piece in (part,) if isinstance(part, bytes) else part:
            if isinstance(part, tuple):
                records.add(len(flat))
            flat.append(piece)
            flat.append(b"\n")
    return Pieces(tuple(flat), frozenset(records))


def lost(data: bytes, records: Sequence[bytes], *, limit: int = 2**20) -> list[bytes]:
    """Return which of `records` are neither a row, the same as alone, nor whole in a payload."""
    found = list(read_pubmed_xml([data], max_record_bytes=limit))
    payloads = [x.payload for x in found if isinstance(x, Failure)]
    return [
        record
        for record in records
        if not any(record.strip() in payload for payload in payloads)
        and not _is_read(record, found)
    ]


def _is_read(record: bytes, found: Sequence[Citation | Failure]) -> bool:
    """Whether `found` holds what `record` gives alone; of a deletion list, one each PMID."""
    alone = [
        x
        for x in read_pubmed_xml([record])
        if isinstance(x, Citation) or x.payload.startswith(b"<PMID")
    ]
    return bool(alone) and all(x in found for x in alone)


FILES = {
    "plain": pieces(HEAD, tuple(article(n, title=f"T{n}") for n in range(1, 5)), TAIL),
    "quotes and marks in the text": pieces(
        HEAD,
        (
            article(1, title='A 3" pipe > 2 and "x" --&gt; y'),
            article(2, title="it's ]] > --> ?> so"),
            article(3, title='"quoted" --> ]&gt; ?> \'single\' "'),
            article(4, title="plain"),
        ),
        TAIL,
    ),
    "comments, sections and instructions": pieces(
        HEAD,
        b"<!-- first -->",
        (article(1, title="a<!-- x -->b"), article(2, title="a<![CDATA[<x>]]>b")),
        b"<!-- between --><?pi between?>",
        (article(3, title="a<?pi x?>b"), article(4, title="<![CDATA[1]]><!-- --><![CDATA[2]]>")),
        b"<!-- each <PubmedArticle> is a record -->",
        (article(5, title="a<!-- y -->b<?pi z?>"), article(6, title="<![CDATA[ --> ?> ]]>")),
        b"<?last pi?>",
        (article(7), b"<DeleteCitation>\n<PMID Version='1'>8</PMID><!-- --></DeleteCitation>"),
        TAIL,
        b"<!-- end -->",
    ),
    "a document type with a subset": pieces(
        b'<?xml version="1.0"?>', SUBSET, b"<PubmedArticleSet>",
        (article(1, title='"]>"'), article(2, title="'] >"), article(3)), TAIL,
    ),
    "files one after the other": pieces(
        HEAD, (article(1, title="a<!-- x -->b"), article(2)), TAIL,
        b"\xef\xbb\xbf" + HEAD, (article(3, title="<![CDATA[x]]>"), article(4)), TAIL,
        MEDLINE, (medline(5, "a<!-- x -->"), medline(6, "<![CDATA[y]]>")), MEDLINE_TAIL,
    ),
    "the form of before 2017": pieces(
        b"<!-- head -->", MEDLINE,
        (medline(1, 'x "y" --> z'), medline(2, "<!-- a -->"), medline(3, "<![CDATA[b]]>")),
        b"<!-- between -->",
        (medline(4, "<?pi c?>"), b"<DeleteCitation><PMID Version='1'>5</PMID></DeleteCitation>"),
        MEDLINE_TAIL,
    ),
    "comments first in a record, and a quoted end of a tag": pieces(
        b"<!DOCTYPE MedlineCitationSet SYSTEM 'x.dtd'>\n<!-- head -->",
        MEDLINE.partition(b"\n")[2],
        (
            medline(1, "<?pi a?>").replace(b'"MEDLINE"', b"'a>b'"),
            medline(2, "<!-- a -->").replace(b"<PMID", b"<!-- x -->\n<PMID"),
            medline(3, "<!-- b -->").replace(b"<PMID", b"<?x?><PMID"),
        ),
        b"<!-- between -->",
        (
            article(4).replace(b"<Medline", b"<!-- x -->\n<Medline"),
            article(5, title="<!-- c -->").replace(b"<Medline", b"<?x?><!-- y --><Medline"),
            article(6).replace(b"<Medline", b"<?x?><Medline"),
        ),
        MEDLINE_TAIL,
    ),
    "prefixes and books": pieces(
        b'<?xml version="1.0"?>\n<p:PubmedArticleSet xmlns:p="urn:p">',
        (
            article(1).replace(b"</", b"</p:").replace(b"<", b"<p:").replace(b"<p:/p:", b"</p:"),
            b"<PubmedBookArticle><BookDocument><PMID>2</PMID><ArticleTitle>a<!-- x -->b"
            b"</ArticleTitle></BookDocument><PubmedBookData/></PubmedBookArticle>",
            article(3, title="<![CDATA[x]]>"),
        ),
        b"</p:PubmedArticleSet>",
    ),
}  # fmt: skip
"""Well-formed files of all that stands between, before and within records."""
