"""Parsing of XML records with namespaces removed from element and attribute names."""

import re
from typing import Final

from lxml import etree

_MAX_PREFIXES: Final = 64
_NAME: Final = rb"[A-Za-z_\x80-\xff][\w.\-\x80-\xff]*"
_PREFIX = re.compile(rb"(?:</?|\s)(" + _NAME + rb"):" + _NAME + rb"(?:[\s/>]|=[\"'])")
_START = re.compile(rb"\s*<[^\s/>]+")
_DECLARED = re.compile(rb"\sxmlns:(" + _NAME + rb")\s*=")


def parse_elements(data: bytes, parser: etree.XMLParser) -> etree._Element:
    """Parse `data` and return its root element; if that has a namespace, all are removed.

    Undeclared prefixes are accepted.

    :raises etree.XMLSyntaxError: if `data` is otherwise malformed.
    """
    try:
        root = etree.fromstring(data, parser)
    except etree.XMLSyntaxError:
        declared = _with_prefixes(data)
        if declared is None:
            raise
        root = etree.fromstring(declared, parser)
        remove_namespaces(root)
    if root.tag.startswith("{"):
        remove_namespaces(root)
    return root


def _with_prefixes(data: bytes) -> bytes | None:
    """Return `data` with missing prefixes declared at the root; None if none or too many are."""
    start = _START.match(data)
    prefixes = set(_PREFIX.findall(data)) - {b"xml", b"xmlns"}
    if start is None:
        return None
    prefixes -= set(_DECLARED.findall(data, start.end(), data.find(b">")))
    if not 0 < len(prefixes) <= _MAX_PREFIXES:
        return None
    declarations = b"".join(b' xmlns:%b="urn:%b"' % (x, x) for x in sorted(prefixes))
    return data[: start.end()] + declarations + data[start.end() :]


def remove_namespaces(root: etree._Element) -> None:
    """Remove the namespaces from the names of all elements and attributes, in place.

    If two attributes then have the same name, the one without a namespace is kept.
    """
    for element in root.iter(etree.Element):
        element.tag = element.tag.rpartition("}")[2]
        attributes = element.attrib
        for name in [x for x in map(str, attributes) if x.startswith("{")]:
            value, plain = attributes.pop(name), name.rpartition("}")[2]
            if plain not in attributes:
                attributes[plain] = value
