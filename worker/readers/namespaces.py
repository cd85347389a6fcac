"""The elements of one record of XML by their plain names, whatever namespaces they are in."""

import re
from typing import Final

from lxml import etree

_MOST_PREFIXES: Final = 64
_NAME: Final = rb"[A-Za-z_\x80-\xff][\w.\-\x80-\xff]*"
_PREFIX = re.compile(rb"(?:</?|\s)(" + _NAME + rb"):" + _NAME + rb"(?:[\s/>]|=[\"'])")
_START = re.compile(rb"\s*<[^\s/>]+")
_DECLARED = re.compile(rb"\sxmlns:(" + _NAME + rb")\s*=")


def parse_elements(data: bytes, parser: etree.XMLParser) -> etree._Element:
    """Return the root element of `data`; where that has a namespace, no element has one then.

    Prefixes that `data` do not declare do not matter.

    :raises etree.XMLSyntaxError: if `data` are otherwise not well formed.
    """
    try:
        root = etree.fromstring(data, parser)
    except etree.XMLSyntaxError:
        declared = _with_prefixes(data)
        if declared is None:
            raise
        root = etree.fromstring(declared, parser)
        leave_out_namespaces(root)
    if root.tag.startswith("{"):
        leave_out_namespaces(root)
    return root


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


def leave_out_namespaces(root: etree._Element) -> None:
    """Call each element, and each of its attributes, by its name alone, without its namespace.

    Of two attributes of one name, that without a namespace stays.
    """
    for element in root.iter(etree.Element):
        element.tag = element.tag.rpartition("}")[2]
        attributes = element.attrib
        for name in [x for x in map(str, attributes) if x.startswith("{")]:
            value, plain = attributes.pop(name), name.rpartition("}")[2]
            if plain not in attributes:
                attributes[plain] = value
