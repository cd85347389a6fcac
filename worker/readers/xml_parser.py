"""The XML parser for files from outside, which may be hostile."""

from lxml import etree


def safe_parser(encoding: str | None = None) -> etree.XMLParser:
    """Return a parser that expands nothing, fetches nothing and keeps libxml2's size limits.

    Without `huge_tree` a text may have 10 MB and elements may nest 256 deep. `encoding` overrides
    the one that the document declares.
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
