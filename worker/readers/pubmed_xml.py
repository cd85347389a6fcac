"""PubMed XML as citations: what each record says, with its text flattened.

How the text is made, all of it without normalising Unicode:

* Inline markup (`<i>`, `<sup>`, ...) and MathML give their characters, in order, and no markup.
  Comments and processing instructions inside a text give nothing.
* XML white space (space, tab, line feed, carriage return) at both ends of a title, a section or
  a label is dropped, and a run of it that holds a line feed or a carriage return, as
  pretty-printing leaves it, becomes one space. So no visible character is lost, and a title
  holds no line break. Other white space (a no-break space, say) is kept.
* A title that is empty, or one of PubMed's placeholders (`[Not Available].`), gives way to the
  `VernacularTitle` where there is one, and that of a book's document to the `BookTitle`.
* Sections of the `Abstract` that hold no text are left out, and so are `CopyrightInformation` and
  `OtherAbstract` (translations, plain-language summaries: another text than the abstract).

A citation is `retracted` if it is a "Retracted Publication" or names its own retraction
(`RetractionIn`, `RetractedandRepublishedIn`). A retraction notice ("Retraction of Publication",
`RetractionOf`) is not itself retracted. A date that is missing or impossible is unknown.
"""

import re
from collections.abc import Iterable, Iterator
from datetime import date
from typing import Final

from lxml import etree

from schemas.errors import RecordError
from schemas.records import Citation, Section
from worker.readers.failures import MAX_RECORD_BYTES, Failure, parse_failure
from worker.readers.fields import checked_pmid, checked_version
from worker.readers.framing import Frame, Framer

_XML_SPACE: Final = " \t\r\n"
_LARGE_BYTES: Final = 2**20
_MOST_TAGS: Final = 1_000_000
"""The largest records of PubMed, with some thousand authors, hold some tens of thousands."""
_LINE_BREAK = re.compile(r"[ \t]*[\r\n][ \t\r\n]*")
_YEAR = re.compile(r"(?<![0-9])[12][0-9]{3}(?![0-9])", re.ASCII)
_PLACEHOLDERS: Final = frozenset({"[not available]", "[in process citation]"})
_RETRACTED_TYPES: Final = frozenset({"Retracted Publication"})
_RETRACTED_REFERENCES: Final = frozenset({"RetractionIn", "RetractedandRepublishedIn"})
_DELETIONS: Final = frozenset({b"DeleteCitation", b"DeleteDocument"})
_CITATION_TAGS: Final = ("PMID", "DateRevised", "Article", "CommentsCorrectionsList")
_ARTICLE_TAGS: Final = (
    "Journal",
    "ArticleTitle",
    "Abstract",
    "PublicationTypeList",
    "VernacularTitle",
    "ArticleDate",
)
_BOOK_TAGS: Final = (
    "PMID",
    "Book",
    "ArticleTitle",
    "VernacularTitle",
    "PublicationType",
    "Abstract",
    "DateRevised",
)


def read_pubmed_xml(
    chunks: Iterable[bytes], *, max_record_bytes: int = MAX_RECORD_BYTES
) -> Iterator[Citation | Failure]:
    """Yield what each record of PubMed XML gives, in order; a deletion list one each PMID.

    Entities are never expanded, no document type is read, nothing is fetched. A record that is
    not well formed, that refers to an entity, or that has no valid PMID becomes a failure.
    """
    framer = Framer(chunks, max_record_bytes=max_record_bytes)
    parser, encoding = _parser(framer.encoding), framer.encoding
    for frame in framer:
        if isinstance(frame, Failure):
            yield frame
            continue
        if framer.encoding != encoding:
            parser, encoding = _parser(framer.encoding), framer.encoding
        try:
            _check_elements(frame.data)
            root = etree.fromstring(_with_namespaces(frame, framer.namespaces), parser)
            if frame.name not in _DELETIONS:
                yield _citation(root)
                continue
        except (etree.XMLSyntaxError, RecordError) as error:
            yield parse_failure(error, frame.data)
            continue
        yield from _deletions(root)


def _parser(encoding: str) -> etree.XMLParser:
    """Return a parser that expands nothing, fetches nothing and keeps libxml2's size limits.

    Without `huge_tree` a text may have 10 MB and elements may nest 256 deep.
    """
    return etree.XMLParser(
        encoding=encoding,
        resolve_entities=False,
        load_dtd=False,
        no_network=True,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
        collect_ids=False,
    )


def _check_elements(data: bytes) -> None:
    """Make sure that a record's tree takes no more than a few times the memory of its bytes.

    An element takes four bytes as XML and a hundred and more in the tree.

    :raises RecordError: if it may take more.
    """
    if len(data) >= _LARGE_BYTES and (tags := data.count(b"<")) > _MOST_TAGS:
        raise RecordError(
            f"the record has {len(data)} bytes and {tags} tags; at most {_MOST_TAGS} were expected"
        )


def _with_namespaces(frame: Frame, namespaces: bytes) -> bytes:
    """Return the frame with the root's prefixes declared, which it loses when parsed alone."""
    if not namespaces:
        return frame.data
    behind_name = len(frame.name) + 1
    return frame.data[:behind_name] + namespaces + frame.data[behind_name:]


def _deletions(root: etree._Element) -> Iterator[Citation | Failure]:
    for element in root.iterchildren("PMID"):
        try:
            pmid, version = _identity(element)
            yield Citation(pmid, version, deleted=True)
        except RecordError as error:
            yield parse_failure(error, etree.tostring(element, encoding="utf-8", with_tail=False))


def _citation(root: etree._Element) -> Citation:
    if root.tag == "PubmedArticle":
        medline = root.find("MedlineCitation")
        if medline is None:
            raise RecordError("the PubmedArticle holds no MedlineCitation")
        return _article_citation(medline)
    document = root if root.tag == "BookDocument" else root.find("BookDocument")
    if document is None:
        raise RecordError("the PubmedBookArticle holds no BookDocument")
    return _book_citation(document)


def _article_citation(medline: etree._Element) -> Citation:
    identity: etree._Element | None = None
    revised: date | None = None
    year: int | None = None
    title = vernacular = ""
    abstract: tuple[Section, ...] = ()
    retracted = False
    for element in medline.iterchildren(_CITATION_TAGS):
        match element.tag:
            case "PMID":
                identity = element if identity is None else identity
            case "DateRevised":
                revised = _date(element)
            case "CommentsCorrectionsList":
                retracted = retracted or any(
                    reference.get("RefType") in _RETRACTED_REFERENCES for reference in element
                )
            case "Article":
                for part in element.iterchildren(_ARTICLE_TAGS):
                    match part.tag:
                        case "ArticleTitle":
                            title = _text(part)
                        case "Abstract":
                            abstract = _sections(part)
                        case "VernacularTitle":
                            vernacular = _text(part)
                        case "PublicationTypeList":
                            retracted = retracted or any(_retracted(kind) for kind in part)
                        case "Journal":
                            year = _year(part.find("JournalIssue/PubDate")) or year
                        case "ArticleDate" if year is None:
                            year = _year(part)
    pmid, version = _identity(identity)
    if vernacular and _is_empty_title(title):
        title = vernacular
    return Citation(pmid, version, title, abstract, retracted, revised, year)


def _book_citation(document: etree._Element) -> Citation:
    identity: etree._Element | None = None
    revised: date | None = None
    year: int | None = None
    title = vernacular = book_title = ""
    abstract: tuple[Section, ...] = ()
    retracted = False
    for element in document.iterchildren(_BOOK_TAGS):
        match element.tag:
            case "PMID":
                identity = element if identity is None else identity
            case "Book":
                year = _year(element.find("PubDate"))
                found = element.find("BookTitle")
                book_title = "" if found is None else _text(found)
            case "ArticleTitle":
                title = _text(element)
            case "VernacularTitle":
                vernacular = _text(element)
            case "PublicationType":
                retracted = retracted or _retracted(element)
            case "Abstract":
                abstract = _sections(element)
            case "DateRevised":
                revised = _date(element)
    pmid, version = _identity(identity)
    if _is_empty_title(title):
        title = vernacular or book_title or title
    return Citation(pmid, version, title, abstract, retracted, revised, year)


def _identity(element: etree._Element | None) -> tuple[int, int]:
    if element is None:
        raise RecordError(
            "the record has no PMID; a PMID element with a positive integer is needed"
        )
    return (
        checked_pmid((element.text or "").strip(_XML_SPACE)),
        checked_version(element.get("Version", "1").strip(_XML_SPACE)),
    )


def _text(element: etree._Element) -> str:
    """Return all characters of `element` in order, its white space as the module says."""
    if len(element) == 0:
        return _tidy(element.text or "")
    # Ten times as fast as joining `itertext()`.
    return _tidy(etree.tostring(element, method="text", encoding="unicode", with_tail=False))


def _tidy(text: str) -> str:
    text = text.strip(_XML_SPACE)
    if "\n" in text or "\r" in text:
        return _LINE_BREAK.sub(" ", text)
    return text


def _sections(abstract: etree._Element) -> tuple[Section, ...]:
    return tuple(
        [
            Section(text, _tidy(element.get("Label", "")) or None)
            for element in abstract.iterchildren("AbstractText")
            if (text := _text(element))
        ]
    )


def _is_empty_title(title: str) -> bool:
    return not title or title.rstrip(".").lower() in _PLACEHOLDERS


def _retracted(publication_type: etree._Element) -> bool:
    return (publication_type.text or "").strip(_XML_SPACE) in _RETRACTED_TYPES


def _date(element: etree._Element) -> date | None:
    try:
        return date(*(int(element.findtext(part, "")) for part in ("Year", "Month", "Day")))
    except (ValueError, OverflowError):
        return None


def _year(element: etree._Element | None) -> int | None:
    """Return the first year that `Year`, or else `MedlineDate` ("1998 Dec-1999 Jan"), names."""
    if element is None:
        return None
    for name in ("Year", "MedlineDate"):
        found = _YEAR.search(element.findtext(name, ""))
        if found is not None:
            return int(found[0])
    return None
