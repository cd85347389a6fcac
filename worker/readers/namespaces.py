"""One record of XML, cut out of its file: prefixes that are declared elsewhere or nowhere."""

import re
from typing import Final

from lxml import etree

_MOST_PREFIXES: Final = 64
_NAME: Final = rb"[A-Za-z_\x80-\xff][\w.\-\x80-\xff]*"
_PREFIX = re.compile(rb"(?:</?|\s)(" + _NAME + rb"):" + _NAME + rb"(?:[\s/>]|=[\"'])")
_START = re.compile(rb"\s*<[^\s/>]+")
_DECLARED = re.compile(rb"\sxmlns:(" + _NAME + rb")\s*=")


def parse_elements(data: bytes, parser: etree.XMLParser) -> etree._Element:
    """Return the root element of `data`; prefixes that they do not declare do not matter.

    :raises etree.XMLSyntaxError: if `data` are otherwise not well formed.
    """
    try:
        return etree.fromstring(data, parser)
    except etree.XMLSyntaxError:
        declared = _with_prefixes(data)
        if declared is None:
            raise
        return etree.fromstring(declared, parser)


def _with_prefixes(data: bytes) -> bytes | None:
    """Return `data` with their prefixes declared at the root; None where all are, or too many."""
    start = _START.match(data)
    prefixes = set(_PREFIX.findall(data)) - {b"xml", b"xmlns"}
    if start is None:
        return None
    prefixes -= set(_DECLARED.findall(data, start.end(), data.find(b">")))
    if not 0 < len(prefixes) <= _MOST_PREFIXES:
        return None
    declarations = b"".join(b' xmlns:%b="urn:%b"' % (x, x) for x in sorted(prefixes))
    return data[: start.end()] + declarations + data[start.end() :]
