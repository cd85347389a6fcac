"""Descriptions of corpora: one TOML file each, for the known corpora and for a user's own.

The known ones are in `training/corpora/known`. Their layout and git blob ids are those of the
public repository `cambridgeltl/MTL-Bioinformatics-2016` (Crichton et al. 2017, "A neural network
multi-task learning approach to biomedical named entity recognition"), folder `data/`, at
`PUBLIC_COMMIT`.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import field
from enum import StrEnum
from functools import cache
from importlib import resources
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any

from pydantic import AfterValidator, ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from schemas.entity_types import EntityType, checked_curie
from schemas.errors import CorpusError
from schemas.tasks import Label, Task
from training.corpora.layouts.table import LAYOUTS, LayoutName
from training.corpora.schemes import Scheme

PUBLIC_COMMIT = "df0df02fae6dbb87d88ffcf323b9096528f06f84"
PUBLIC_URL = (
    f"https://raw.githubusercontent.com/cambridgeltl/MTL-Bioinformatics-2016/{PUBLIC_COMMIT}/data"
)

_FIRST = ("ncbi-disease", "bc5cdr", "bc5cdr-chem", "bc5cdr-disease", "bc2gm", "jnlpba", "bc4chemd",
          "jnlpba-iobes")  # fmt: skip
_STRICT = ConfigDict(extra="forbid")


class Use(StrEnum):
    """What a corpus may be used for."""

    TRAIN = "train"
    EVALUATE = "evaluate"


class Split(StrEnum):
    """The three parts of a corpus."""

    TRAIN = "train"
    DEVEL = "devel"
    TEST = "test"


@dataclass(frozen=True, slots=True, config=_STRICT)
class CatalogueFile:
    """What is known of one file of a corpus; all but the split may be unknown.

    `blob` is the file's git blob id, `repaired_blob` that after `training.corpora.sentence_breaks`
    repaired its sentence breaks (None if it needs no repair). `sentences` and `mentions` are the
    published counts (after the repair). `path` is its name in the folder, if it is not the split's
    with the layout's suffix. `only` and `without` are files beside the description that list the
    documents to read, and those not to read.
    """

    split: Split
    blob: str | None = None
    repaired_blob: str | None = None
    sentences: int | None = None
    mentions: int | None = None
    path: str | None = None
    only: str | None = None
    without: str | None = None


@dataclass(frozen=True, slots=True, config=_STRICT)
class CatalogueEntry:
    """One corpus: its name (also the head's), folder, scheme, labels and files.

    With `detects_scheme` the scheme is that of the tags; without labels any that names an entity
    type is accepted. `licence` holds the terms of use and redistribution, `broken` the reason why
    the folder must not be used for training (else empty), `fetched` whether `pubner corpora fetch`
    may download it, `types` the entity types of the labels, `curies` the meaning of
    those that are not known, `url` where the files are published, `described_in` the TOML file.
    Mentions of the labels `drop` are left out. A corpus whose `use` is to evaluate is never
    trained on.
    """

    name: str
    folder: str
    scheme: Scheme
    labels: tuple[str, ...]
    files: tuple[CatalogueFile, ...]
    licence: str = ""
    broken: str = ""
    fetched: bool = True
    types: Mapping[str, EntityType] = field(default_factory=dict)
    url: str = ""
    detects_scheme: bool = False
    curies: Mapping[EntityType, Annotated[str, AfterValidator(checked_curie)]] = field(
        default_factory=dict
    )
    described_in: str = ""
    layout: LayoutName = LayoutName.COLUMNS
    drop: tuple[str, ...] = ()
    use: Use = Use.TRAIN

    def file(self, split: Split) -> CatalogueFile:
        """Return what is known of the file of `split`."""
        return next((one for one in self.files if one.split == split), CatalogueFile(split))

    def file_name(self, split: Split) -> str:
        """Return the name of the file of `split` in the folder."""
        return self.file(split).path or f"{split}{LAYOUTS[self.layout].suffix}"

    @property
    def task(self) -> Task | None:
        """The task of the corpus's head; None if no labels are given."""
        labels = tuple(
            Label(name, self.types[name], self.curies.get(self.types[name]))
            for name in self.labels
            if name in self.types
        )
        return Task(self.name, labels) if labels else None


def parse_entry(text: str, name: str, where: str) -> CatalogueEntry:
    """Return the description of a corpus in TOML.

    :param name: its name, if the text gives none
    :param where: the file, for messages
    :raises CorpusError: if it is not TOML, or a key or value is unknown.
    """
    try:
        values: dict[str, Any] = tomllib.loads(text)
        types = values.pop("labels", {})
        files = values.pop("files", {})
        return TypeAdapter(CatalogueEntry).validate_python(
            {
                "name": name,
                "scheme": Scheme.IOBES,
                "detects_scheme": "scheme" not in values
                and values.get("layout", "columns") == "columns",
                **values,
                "labels": list(types),
                "types": types,
                "described_in": where,
                "files": [{"split": split, **known} for split, known in files.items()],
            }
        )
    except tomllib.TOMLDecodeError as error:
        raise CorpusError(f"{where} is not valid TOML: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        at = ".".join(map(str, first["loc"])) or "the file"
        raise CorpusError(f"{where}: {at}: {first['msg']}") from error
    except (TypeError, AttributeError) as error:
        raise CorpusError(
            f"{where}: labels and files.<split> must be tables, such as [labels] and [files.train]"
        ) from error


def is_among_first(entry: CatalogueEntry) -> bool:
    """Whether the known corpus `entry` is one that pubner began with."""
    return entry.name in _FIRST


@cache
def catalogue() -> Mapping[str, CatalogueEntry]:
    """Return every known corpus by name, those that pubner began with first."""
    known = resources.files("training.corpora").joinpath("known")
    files = {Path(file.name).stem: file for file in known.iterdir() if file.name.endswith(".toml")}
    return MappingProxyType(
        {
            name: parse_entry(files[name].read_text("utf-8"), name, name)
            for name in (*_FIRST, *sorted(files.keys() - set(_FIRST)))
        }
    )


def read_entry(path: Path) -> CatalogueEntry:
    """Return the description of a user's own corpus; its folder is relative to the file.

    :raises CorpusError: if the file cannot be read, or is not a corpus's description.
    """
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CorpusError(f"the corpus {path} cannot be read: {error}") from error
    return parse_entry(text, path.stem, str(path))


def find_entry(name: str) -> CatalogueEntry | None:
    """Return the entry with the corpus name or folder `name` (case-insensitive), or None."""
    wanted = name.casefold()
    for entry in catalogue().values():
        names = [entry.name.casefold()]
        if entry.layout is LayoutName.COLUMNS:  # the others share a folder
            names += [entry.folder.casefold(), Path(entry.folder).name.casefold()]
        if wanted in names:
            return entry
    return None


def known_entry(name: str) -> CatalogueEntry:
    """Return the entry with the corpus name or folder `name`.

    :raises CorpusError: if the catalogue has no such corpus.
    """
    entry = find_entry(name)
    if entry is None:
        raise CorpusError(f"no corpus {name!r} is known; known are {', '.join(catalogue())}")
    return entry
