"""Byte patterns of PubMed's XML tags, and detection of unclosed markup that hides records.

A comment, CDATA section or processing instruction whose end is damaged extends to the end of a
later one, which is well-formed XML. So if one contains the beginning of a record, its end decides:
if it ends within that record, or after it at the end of other markup, it was unclosed. A comment
that merely mentions records, or contains complete ones, is a real comment.
"""

import re
from dataclasses import dataclass
from typing import Final

LONGEST_PREFIX: Final = 32
LONGEST_HEAD: Final = 2**12
"""How many bytes after a tag are examined for its content."""
_PREFIX: Final = rb"(?:[\w.\-\x80-\xff]{1,%d}:)?" % LONGEST_PREFIX
_SETS: Final = rb"(?:PubmedArticleSet|PubmedBookArticleSet|BookDocumentSet|MedlineCitationSet)"
_ARTICLES: Final = rb"PubmedArticle|PubmedBookArticle|DeleteCitation|DeleteDocument"
# Records in some sets, and part of an article in others.
_PARTS: Final = rb"BookDocument|MedlineCitation"
_RECORDS: Final = {False: _ARTICLES + rb"|BookDocument", True: _ARTICLES + rb"|" + _PARTS}
# White space, comments and processing instructions.
_BETWEEN: Final = rb"(?:\s++|<!--(?s:(?!-->).)*+-->|<\?(?s:(?!\?>).)*+\?>)*+"
_CHILDREN: Final = {b"PubmedArticle": rb"MedlineCitation", b"PubmedBookArticle": rb"BookDocument"}

TERMINATORS: Final = {b"<!--": b"-->", b"<![CDATA[": b"]]>", b"<?": b"?>"}
BOM: Final = b"\xef\xbb\xbf"
MEDLINE_SET: Final = b"MedlineCitationSet"

REST_OF_TAG: Final = re.compile(rb"""(?:[^<>"']|"[^"<]*"|'[^'<]*')*+>""")
DOCTYPE_TOKEN: Final = re.compile(rb"""["'\[\]>]|<!--|<\?""")
XML_ENCODING: Final = re.compile(
    rb"""<\?xml\s[^>]*?encoding\s*=\s*["']([A-Za-z0-9._\-]+)["']""",
)

# Keyed by whether a MedlineCitation is a record in the current set.
START: Final = {
    medline: re.compile(rb"\s*<(" + names + rb")([\s/>])") for medline, names in _RECORDS.items()
}
GAP_TOKEN: Final = {
    medline: re.compile(
        BOM
        + rb"|<(?:!--|!\[CDATA\[|!DOCTYPE(?=[\s\[>])|\?"
        + rb"|/?" + _PREFIX + _SETS + rb"(?=[\s/>])"
        + rb"|" + _PREFIX + rb"(?:" + names + rb")(?=[\s/>]))"
    )
    for medline, names in _RECORDS.items()
}  # fmt: skip


# Within a record, its end tag is the next match of this pattern.
RECORD_OR_SET_TAG: Final = {
    medline: re.compile(rb"</?" + _PREFIX + rb"(?:" + names + rb"|" + _SETS + rb")(?=[\s/>])")
    for medline, names in _RECORDS.items()
}


@dataclass(frozen=True, slots=True)
class RecordPatterns:
    """The patterns for scanning a record of one name, with or without a namespace prefix.

    `next` matches the start of another record, or a tag of a set, which a record never contains.
    `token` matches `next`, the record's end tag, or the opening of markup; `end_or_next` the first
    two. `unusual` matches content that needs the thorough scan. `child` matches the record's first
    child, after comments and instructions. `stub` matches a start tag followed directly by `next`:
    not a record, but an end tag without its slash.
    """

    next: re.Pattern[bytes]
    token: re.Pattern[bytes]
    end_or_next: re.Pattern[bytes]
    unusual: re.Pattern[bytes]
    child: re.Pattern[bytes]
    stub: re.Pattern[bytes]


def _patterns(name: bytes, prefix: bytes) -> RecordPatterns:
    others = _ARTICLES if name in _ARTICLES.split(b"|") else _ARTICLES + rb"|" + name
    next = rb"<(?:" + prefix + rb"(?:" + others + rb")|/?" + _PREFIX + _SETS + rb")[\s/>]"
    end = rb"</" + prefix + name + rb"\s{0,8}>"
    return RecordPatterns(
        next=re.compile(next),
        token=re.compile(rb"<!--|<!\[CDATA\[|<\?|" + end + rb"|" + next),
        end_or_next=re.compile(end + rb"|" + next),
        unusual=re.compile(rb"<(?:[!?]|Pubmed(?:Book)?Article[\s/>]|Delete|" + name + rb"[\s/>])"),
        child=re.compile(_BETWEEN + rb"<" + _PREFIX + _CHILDREN.get(name, rb"PMID") + rb"[\s/>]"),
        stub=re.compile(rb"<" + prefix + name + rb"\s{0,8}>(?=" + _BETWEEN + next + rb")"),
    )


_RECORD_PATTERNS: Final = {
    (name, bool(prefix)): _patterns(name, prefix)
    for name in _RECORDS[True].split(b"|")
    for prefix in (b"", _PREFIX)
}


UNUSUAL: Final = {
    name: patterns.unusual
    for (name, prefixed), patterns in _RECORD_PATTERNS.items()
    if not prefixed
}
"""By a record's name, the pattern of content that needs the thorough scan."""


def record_patterns(tag: bytes) -> RecordPatterns:
    """Return the patterns for the record of a start tag, which may lack its `>`."""
    return _RECORD_PATTERNS[local_name(tag), b":" in tag]


def local_name(tag: bytes) -> bytes:
    """Return the name without prefix in a start or end tag, which may lack its `>`."""
    return tag.strip(b"</> \t\r\n").rpartition(b":")[2]


def is_of_set(token: bytes) -> bool:
    """Whether a start or end tag, as matched by the patterns, is that of a set of records."""
    return local_name(token).endswith(b"Set")


def _boundaries(names: bytes) -> re.Pattern[bytes]:
    """Return the pattern of a record's head (start tag and first child) or its end tag."""
    first = rb"<(?:!--|\?|!\[CDATA\[|" + _PREFIX + rb"(?:MedlineCitation|BookDocument|PMID)[\s/>])"
    return re.compile(
        rb"<" + _PREFIX + rb"(?:" + names + rb")(?:\s[^<]*)?>\s*" + first
        + rb"|(?P<end></" + _PREFIX + rb"(?:" + names + rb")\s*>)"
    )  # fmt: skip


_ARTICLE: Final = _boundaries(_ARTICLES)
_PART: Final = _boundaries(_PARTS + rb"|DeleteCitation|DeleteDocument")
_HEAD_OF_ARTICLE: Final = re.compile(rb"<" + _PREFIX + rb"Pubmed(?:Book)?Article[\s>]")
_OPENING: Final = re.compile(rb"<!--|<!\[CDATA\[|<\?|<" + _PREFIX + _SETS + rb"[\s/>]")


def hidden_record(data: bytes, begin: int, end: int) -> int:
    """Return the start of the last record inside unclosed markup from `begin` to `end`.

    -1 if the markup is properly closed.
    """
    boundaries = _ARTICLE if _HEAD_OF_ARTICLE.search(data, begin, end) else _PART
    head = tail = -1
    for found in boundaries.finditer(data, begin, end):
        if found["end"]:
            tail = found.end()
        else:
            head = found.start()
    if head < tail and not _OPENING.search(data, tail, end):
        return -1
    return head


def holds_record(data: bytes, begin: int, end: int) -> bool:
    """Whether the head of a record begins between `begin` and `end`."""
    stop = end + LONGEST_HEAD
    return any(
        not found["end"] and found.start() < end
        for pattern in (_ARTICLE, _PART)
        for found in pattern.finditer(data, begin, stop)
    )
