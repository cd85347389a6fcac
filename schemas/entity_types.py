"""Entity types: names that all heads share, and a table of the known ones with their CURIEs.

Any valid name is an entity type. The table gives a known name its meaning, in the Biolink model or
in an ontology; a checkpoint's manifest may give one to a name that the table lacks.
"""

import re
import unicodedata
from collections.abc import Mapping
from difflib import get_close_matches
from types import MappingProxyType
from typing import ClassVar, Final

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from schemas.errors import RecordError

MAX_LENGTH: Final = 64
_NAME: Final = re.compile(r"[^\W\d_][\w.-]*")
_CURIE: Final = re.compile(r"[A-Za-z][\w.-]*:[^\s,;|\"'<>]+", re.ASCII)
_CLOSE: Final = 0.8


class EntityType(str):
    """The validated name of a normalised entity type, such as `Gene`; it is a plain `str` too.

    A name begins with a letter and has letters, digits, `_`, `-` and `.`, so it can stand in a
    metric's name, a CSV file and an option. It is in Unicode's normal form NFC.

    :raises RecordError: if the name is not like that, or has more than `MAX_LENGTH` characters.
    """

    __slots__ = ()

    GENE: ClassVar["EntityType"]
    PROTEIN: ClassVar["EntityType"]
    DNA: ClassVar["EntityType"]
    RNA: ClassVar["EntityType"]
    CELL_LINE: ClassVar["EntityType"]
    CELL_TYPE: ClassVar["EntityType"]
    CHEMICAL: ClassVar["EntityType"]
    DISEASE: ClassVar["EntityType"]

    def __new__(cls, name: str) -> "EntityType":
        """Return `name` as an entity type, validated."""
        if (
            len(name) > MAX_LENGTH
            or not _NAME.fullmatch(name)
            or not unicodedata.is_normalized("NFC", name)
        ):
            raise RecordError(
                f"{name[: MAX_LENGTH + 1]!r} cannot name an entity type: expected a letter, then "
                f"letters, digits, '_', '-' and '.', at most {MAX_LENGTH} characters, in Unicode's "
                "normal form NFC"
            )
        return super().__new__(cls, name)

    @classmethod
    def __get_pydantic_core_schema__(
        cls, _source: type["EntityType"], _handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """Return the validation of a string by the same rules, for pydantic."""
        return core_schema.no_info_after_validator_function(
            cls._validated,
            core_schema.str_schema(strict=True),
            serialization=core_schema.to_string_ser_schema(),
        )

    @classmethod
    def _validated(cls, name: str) -> "EntityType":
        try:
            return cls(name)
        except RecordError as error:
            raise ValueError(str(error)) from error


EntityType.GENE = EntityType("Gene")
EntityType.PROTEIN = EntityType("Protein")
EntityType.DNA = EntityType("DNA")
EntityType.RNA = EntityType("RNA")
EntityType.CELL_LINE = EntityType("CellLine")
EntityType.CELL_TYPE = EntityType("CellType")
EntityType.CHEMICAL = EntityType("Chemical")
EntityType.DISEASE = EntityType("Disease")

KNOWN_TYPES: Final[Mapping[EntityType, str]] = MappingProxyType(
    {
        EntityType.GENE: "biolink:Gene",
        EntityType.PROTEIN: "biolink:Protein",
        EntityType.DNA: "SO:0000352",
        EntityType.RNA: "SO:0000356",
        EntityType.CELL_LINE: "biolink:CellLine",
        EntityType.CELL_TYPE: "biolink:Cell",
        EntityType.CHEMICAL: "biolink:ChemicalEntity",
        EntityType.DISEASE: "biolink:Disease",
        EntityType("Species"): "biolink:OrganismTaxon",
        EntityType("Variant"): "biolink:SequenceVariant",
        EntityType("Anatomy"): "biolink:AnatomicalEntity",
        EntityType("CellularComponent"): "biolink:CellularComponent",
        EntityType("BiologicalProcess"): "biolink:BiologicalProcess",
        EntityType("MolecularActivity"): "biolink:MolecularActivity",
        EntityType("Phenotype"): "biolink:PhenotypicFeature",
        EntityType("GeneFamily"): "biolink:GeneFamily",
        EntityType("ProteinDomain"): "biolink:ProteinDomain",
        EntityType("Complex"): "biolink:MacromolecularComplex",
        EntityType("SequenceFeature"): "SO:0000110",
        EntityType("Haplotype"): "biolink:Haplotype",
        EntityType("Food"): "biolink:Food",
        EntityType("Procedure"): "biolink:Procedure",
    }
)
"""The CURIE of each known entity type, in the order of reports."""


def checked_curie(curie: str) -> str:
    """Return `curie` if it is one: a prefix, a colon and a local name, such as `MONDO:0000001`.

    :raises ValueError: if it is not.
    """
    if len(curie) > 2 * MAX_LENGTH or not _CURIE.fullmatch(curie):
        raise ValueError(f"{curie[: 2 * MAX_LENGTH]!r} is not a CURIE such as biolink:Disease")
    return curie


def near_miss(name: str) -> str | None:
    """Return the known entity type that the unknown `name` may be a misspelling of; else None."""
    if name in KNOWN_TYPES:
        return None
    folded = {_folded(known): str(known) for known in KNOWN_TYPES}
    close = get_close_matches(_folded(name), folded, n=1, cutoff=_CLOSE)
    return folded[close[0]] if close else None


def _folded(name: str) -> str:
    return "".join(filter(str.isalnum, name.casefold()))
