"""Reader of PubMed XML: one citation per record, with its text flattened.

The text is built by these rules, without normalising Unicode:

* Inline markup (`<i>`, `<sup>`, ...) and MathML are replaced by their characters, in order.
  Comments and processing instructions inside a text are dropped. If MathML has a formula twice,
  in presentation form and as an annotation (such as TeX), only the presentation form is read.
* XML white space (space, tab, line feed, carriage return) at both ends of a title, a section or
  a label is dropped, and a run of it that holds a line feed or a carriage return, as
  pretty-printing leaves it, becomes one space. So no visible character is lost, and a title
  has no line break. Other white space (such as a no-break space) is kept.
* A title that is empty, or one of PubMed's placeholders (`[Not Available].`), is replaced by
  the `VernacularTitle` if there is one, and in a book document otherwise by the `BookTitle`.
* Empty sections of the `Abstract` are left out, and so is `CopyrightInformation`.
* If the `Abstract` is empty, it is replaced by the first English `OtherAbstract` by one of NLM's
  indexing partners (types AAMC, AIDS, KIE, NASA and PIP). Any other one (a publisher's, which is a
  translation or a placeholder, or a plain-language summary) is not the abstract, and is never
  read.

A citation is `retracted` if it is a "Retracted Publication" or names its own retraction
(`RetractionIn`, `RetractedandRepublishedIn`). A retraction notice ("Retraction of Publication",
`RetractionOf`) is not itself retracted. A date that is missing or impossible is unknown.

A deletion applies to the version given with its PMID, or to all versions if none is given. Elements
are identified by local name; namespaces and prefixes, declared or not, are ignored. A
`MedlineCitation` outside an article, as in a MedlineCitationSet (the format before 2017), is a
record.
"""

import re
from collections.abc import Iterable, Iterator
from datetime import date
from functools import partial
from typing import Final

from lxml import etree

from schemas.errors import RecordError
from schemas.records import ALL_VERSIONS, Citation, Section
from worker.readers.failures import MAX_RECORD_BYTES, Failure, parse_record
from worker.readers.fields import checked_pmid, checked_version
from worker.readers.framing import Framer
from worker.readers.namespaces import parse_elements, remove_namespaces
from worker.readers.xml_parser import safe_parser

_XML_SPACE: Final = " \t\r\n"
_LARGE_BYTES: Final = 2**20
_MAX_TAGS: Final = 1_000_000
"""PubMed's largest records, with some thousand authors, have some tens of thousands of tags."""
_LINE_BREAK = re.compile(r"[ \t]*[\r\n][ \t\r\n]*")
_YEAR = re.compile(r"(?<![0-9])[12][0-9]{3}(?![0-9])", re.ASCII)
_PLACEHOLDERS: Final = frozenset({"[not available]", "[in process citation]"})
_RETRACTED_TYPES: Final = frozenset({"Retracted Publication"})
_RETRACTED_REFERENCES: Final = frozenset({"RetractionIn", "RetractedandRepublishedIn"})
_DELETIONS: Final = frozenset({"DeleteCitation", "DeleteDocument"})
_OTHER_ABSTRACTS: Final = frozenset({"aamc", "aids", "kie", "nasa", "pip"})
_ENGLISH: Final = frozenset({"en", "eng"})
_ANNOTATIONS: Final = ("{*}annotation", "{*}annotation-xml")
_CITATION_TAGS: Final = (
    "PMID",
    "DateRevised",
    "Article",
    "CommentsCorrectionsList",
    "OtherAbstract",
)
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
    """Yield the citation or failure of each record, in order; for a deletion list one per PMID.

    Entities are never expanded, no document type is read, nothing is fetched. A record that is
    malformed, refers to an entity, or has no valid PMID becomes a failure.
    """
    framer = Framer(chunks, max_record_bytes=max_record_bytes)
    parser, encoding = safe_parser(framer.encoding), framer.encoding
    for frame in framer:
        if isinstance(frame, Failure):
            yield frame
            continue
        if framer.encoding != encoding:
            parser, encoding = safe_parser(framer.encoding), framer.encoding
        found = parse_record(partial(_read, frame.data, parser), frame.data)
        if isinstance(found, list):
            yield from found
        else:
            yield found


def _check_elements(data: bytes) -> None:
    """Check that a record's element tree takes at most a few times the memory of its bytes.

    An element takes four bytes as XML and a hundred and more in the tree.

    :raises RecordError: if it may take more.
    """
    if len(data) >= _LARGE_BYTES and (tags := data.count(b"<")) > _MAX_TAGS:
        raise RecordError(
            f"the record has {len(data)} bytes and {tags} tags; at most {_MAX_TAGS} were expected"
        )


def _read(data: bytes, parser: etree.XMLParser) -> Citation | list[Citation | Failure]:
    """Return the citation of a record, or for a deletion list one citation or failure per PMID."""
    _check_elements(data)
    root = parse_elements(data, parser)
    if root.tag in _DELETIONS:
        remove_namespaces(root)
        return [
            parse_record(
                partial(_deletion, element),
                etree.tostring(element, encoding="utf-8", with_tail=False),
            )
            for element in root.iterchildren("PMID")
        ]
    # Removing namespaces from every record would cost 3 % of the time.
    try:
        citation = _citation(root)
        if (citation.title and citation.abstract) or b"xmlns" not in data:
            return citation
    except RecordError:
        if b"xmlns" not in data:
            raise
    remove_namespaces(root)
    return _citation(root)


def _citation(root: etree._Element) -> Citation:
    match root.tag:
        case "PubmedArticle":
            return _article_citation(_part(root, "MedlineCitation"))
        case "PubmedBookArticle":
            return _book_citation(_part(root, "BookDocument"))
        case "BookDocument":
            return _book_citation(root)
    return _article_citation(root)


def _part(root: etree._Element, name: str) -> etree._Element:
    part = root.find(name)
    if part is None:
        raise RecordError(f"the {root.tag} holds no {name}")
    return part


def _remove_annotations(part: etree._Element) -> None:
    """Remove the annotations of each formula in `part` that has visible text without them."""
    if next(part.iter(*_ANNOTATIONS), None) is None:
        return
    for formula in part.iter("{*}math"):
        found = list(formula.iter(*_ANNOTATIONS))
        shown = _visible(formula) - sum(_visible(annotation) for annotation in found)
        if shown > 0:
            for annotation in found:
                _remove(annotation)


def _visible(element: etree._Element) -> int:
    """Return how many visible characters the text of an element has."""
    text: str = etree.tostring(element, method="text", encoding="unicode", with_tail=False)
    return len("".join(text.split()))


def _remove(element: etree._Element) -> None:
    """Remove an element from its tree, but keep the text after it."""
    parent = element.getparent()
    if parent is None:
        return
    before = element.getprevious()
    if before is None:
        parent.text = (parent.text or "") + (element.tail or "")
    else:
        before.tail = (before.tail or "") + (element.tail or "")
    element.tail = None
    parent.remove(element)


def _deletion(element: etree._Element) -> Citation:
    pmid, version = _identity(element)
    return Citation(pmid, version if element.get("Version") else ALL_VERSIONS, deleted=True)


def _article_citation(medline: etree._Element) -> Citation:
    identity: etree._Element | None = None
    revised: date | None = None
    year: int | None = None
    title = vernacular = ""
    abstract: tuple[Section, ...] = ()
    other: tuple[Section, ...] = ()
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
            case "OtherAbstract" if not other and _is_abstract(element):
                other = _sections(element)
            case "Article":
                for part in element.iterchildren(_ARTICLE_TAGS):
                    match part.tag:
                        case "ArticleTitle":
                            title = _title(part)
                        case "Abstract":
                            abstract = _sections(part)
                        case "VernacularTitle":
                            vernacular = _title(part)
                        case "PublicationTypeList":
                            retracted = retracted or any(_retracted(kind) for kind in part)
                        case "Journal":
                            year = _year(part.find("JournalIssue/PubDate")) or year
                        case "ArticleDate" if year is None:
                            year = _year(part)
    pmid, version = _identity(identity)
    if vernacular and _is_empty_title(title):
        title = vernacular
    return Citation(pmid, version, title, abstract or other, retracted, revised, year)


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
                book_title = "" if found is None else _title(found)
            case "ArticleTitle":
                title = _title(element)
            case "VernacularTitle":
                vernacular = _title(element)
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


def _title(element: etree._Element) -> str:
    if len(element):
        _remove_annotations(element)
    return _text(element)


def _text(element: etree._Element) -> str:
    """Return the text of `element`, with white space as in the module's docstring."""
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
    _remove_annotations(abstract)
    return tuple(
        [
            Section(text, _tidy(element.get("Label", "")) or None)
            for element in abstract.iterchildren("AbstractText")
            if (text := _text(element))
        ]
    )


def _is_abstract(other: etree._Element) -> bool:
    """Whether an `OtherAbstract` is an English abstract, not another kind of text."""
    return (
        other.get("Type", "").strip(_XML_SPACE).lower() in _OTHER_ABSTRACTS
        and other.get("Language", "eng").strip(_XML_SPACE).lower() in _ENGLISH
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
