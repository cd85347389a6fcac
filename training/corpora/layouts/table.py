"""The table of layouts, by the name that a corpus's description gives."""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from training.corpora.layouts.bioc import read_bioc
from training.corpora.layouts.brat import read_brat
from training.corpora.layouts.columns import Columns
from training.corpora.layouts.documents import DocumentLayout
from training.corpora.layouts.jsonl import read_jsonl
from training.corpora.layouts.protocol import Layout
from training.corpora.layouts.pubtator import read_pubtator


class LayoutName(StrEnum):
    """The name of a layout."""

    COLUMNS = "columns"
    PUBTATOR = "pubtator"
    BIOC = "bioc"
    BRAT = "brat"
    JSONL = "jsonl"


LAYOUTS: Final[Mapping[LayoutName, Layout]] = MappingProxyType(
    {
        LayoutName.COLUMNS: Columns(),
        LayoutName.PUBTATOR: DocumentLayout(read_pubtator, ".PubTator"),
        LayoutName.BIOC: DocumentLayout(read_bioc, ".xml"),
        LayoutName.BRAT: DocumentLayout(read_brat, "", folders=True),
        LayoutName.JSONL: DocumentLayout(read_jsonl, ".jsonl"),
    }
)
