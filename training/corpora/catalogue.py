"""The catalogue of known corpora: folder, tag scheme, labels, published counts and digests.

The layout and the git blob ids are those of the public repository
`cambridgeltl/MTL-Bioinformatics-2016` (Crichton et al. 2017, "A neural network multi-task learning
approach to biomedical named entity recognition"), folder `data/`, at `PUBLIC_COMMIT`.
"""

from dataclasses import dataclass
from enum import StrEnum

from schemas.errors import CorpusError
from training.corpora.schemes import Scheme

PUBLIC_COMMIT = "df0df02fae6dbb87d88ffcf323b9096528f06f84"
PUBLIC_URL = (
    f"https://raw.githubusercontent.com/cambridgeltl/MTL-Bioinformatics-2016/{PUBLIC_COMMIT}/data"
)


class Split(StrEnum):
    """The three parts of a corpus."""

    TRAIN = "train"
    DEVEL = "devel"
    TEST = "test"


@dataclass(frozen=True, slots=True)
class CatalogueFile:
    """The catalogue's data on one file of a corpus.

    `blob` is the git blob id of the public file, `repaired_blob` that of the file after
    `training.corpora.sentence_breaks` repaired its sentence breaks (None if the public file is
    correct). `sentences` and `mentions` are the published counts (after the repair), None if
    unknown.
    """

    split: Split
    blob: str | None = None
    repaired_blob: str | None = None
    sentences: int | None = None
    mentions: int | None = None


@dataclass(frozen=True, slots=True)
class CatalogueEntry:
    """One corpus: its name (the head's name where it has one), folder, scheme, labels, files.

    `licence` holds the terms of use and redistribution, `broken` the reason why the folder must not
    be used for training (else empty), `fetched` whether `pubner corpora fetch` may download it.
    """

    name: str
    folder: str
    scheme: Scheme
    labels: tuple[str, ...]
    files: tuple[CatalogueFile, ...]
    licence: str
    broken: str = ""
    fetched: bool = True

    def file(self, split: Split) -> CatalogueFile:
        """Return the catalogue's data on the file of `split`."""
        return next(known for known in self.files if known.split == split)


_UNBUNDLED = "not bundled with pubner; see its source for the terms of use"


def _file(
    split: Split, blob: str | None, counts: tuple[int, int] | None, repaired: str | None = None
) -> CatalogueFile:
    sentences, mentions = counts or (None, None)
    return CatalogueFile(split, blob, repaired, sentences, mentions)


CATALOGUE: dict[str, CatalogueEntry] = {
    entry.name: entry
    for entry in (
        CatalogueEntry(
            "ncbi-disease",
            "NCBI-disease-IOBES",
            Scheme.IOBES,
            ("Disease",),
            (
                _file(Split.TRAIN, "a56d03e5685e986185db2865760e3990c166c960", (5_424, 5_134)),
                _file(Split.DEVEL, "2a8c2691eff1870d0481d61ec5f4a533b985fed4", (923, 787)),
                _file(Split.TEST, "cd802f61cde3aed8158be57f8a62b3863218ea09", (940, 960)),
            ),
            f"public domain (NCBI); {_UNBUNDLED}",
        ),
        CatalogueEntry(
            "bc5cdr",
            "BC5CDR-IOBES",
            Scheme.IOBES,
            ("Chemical", "Disease"),
            (
                _file(Split.TRAIN, "4792e5cf8fe9ccd6f3932035c00fdcb1bf1d435c", (4_560, 9_385)),
                _file(Split.DEVEL, "46531f2c1b77545f8d3fe7d2571a2d98a33b73f9", (4_581, 9_593)),
                _file(Split.TEST, "725872142f5f721ea503e282b452af779377deb6", (4_797, 9_809)),
            ),
            f"public domain (NCBI, BioCreative V); {_UNBUNDLED}",
        ),
        CatalogueEntry(
            "bc5cdr-chem",
            "BC5CDR-chem-IOBES",
            Scheme.IOBES,
            ("Chemical",),
            (
                _file(Split.TRAIN, "048f6b897068758b8bb3db00384d7c120c9fb6ed", (4_560, 5_203)),
                _file(Split.DEVEL, "4f34f8c960ed53c6b40efea6aebfe058c75372ba", (4_581, 5_347)),
                _file(Split.TEST, "4734f968aead39cee4a4a894e2b882d430dbc2bd", (4_797, 5_385)),
            ),
            f"public domain (NCBI, BioCreative V); {_UNBUNDLED}",
        ),
        CatalogueEntry(
            "bc5cdr-disease",
            "BC5CDR-disease-IOBES",
            Scheme.IOBES,
            ("Disease",),
            (
                _file(Split.TRAIN, "f0461f44a72a94560281ea01033ff54dc8435c35", (4_560, 4_182)),
                _file(Split.DEVEL, "2b1e4122939ee1d3b62cb7a8528dd4c9b1623a75", (4_581, 4_246)),
                _file(Split.TEST, "4115253df79d8c01dbab2168cfb992f81206c05c", (4_797, 4_424)),
            ),
            f"public domain (NCBI, BioCreative V); {_UNBUNDLED}",
        ),
        CatalogueEntry(
            "bc2gm",
            "BC2GM-IOBES",
            Scheme.IOBES,
            ("GENE",),
            (
                _file(Split.TRAIN, "ecd0947692905029d17227b3cbe623da9b10aa85", (12_574, 15_197)),
                _file(Split.DEVEL, "8836eb1461f687e88e66ff4f561f19e8faa1e9b1", (2_519, 3_061)),
                _file(Split.TEST, "3335515cf4d9342837a24131f69da51655c3fa82", (5_038, 6_325)),
            ),
            f"BioCreative II; {_UNBUNDLED}",
        ),
        CatalogueEntry(
            "jnlpba",
            "JNLPBA",
            Scheme.IOB2,
            ("protein", "DNA", "RNA", "cell_type", "cell_line"),
            (
                _file(
                    Split.TRAIN,
                    "5aa9d1ac3d60c924ac225d0c07695c82c31326a5",
                    (16_808, 46_750),
                    "cb22260179d99221b6abebc390c6480e492a0aed",
                ),
                _file(Split.DEVEL, "a88b36a9fcaebea8db560e40a7724ccd4dc5ecaf", (1_739, 4_551)),
                _file(Split.TEST, "eae0728d2c79fbd8857edda5a0cd42c3694c5249", (3_856, 8_662)),
            ),
            f"GENIA project licence; {_UNBUNDLED}",
        ),
        CatalogueEntry(
            "bc4chemd",
            "BC4CHEMD-IOBES",
            Scheme.IOBES,
            ("Chemical",),
            (
                _file(Split.TRAIN, "85c05864d3f7c5286eb40493880b9e5525346f8e", None),
                _file(Split.DEVEL, "25ac7c2fe3734c496b22a7c6676d2258cf1dd07e", None),
                _file(Split.TEST, "49accafa9063b67428ab5a0643072cada64407b3", None),
            ),
            "BioCreative IV; terms of redistribution unclear: never bundled",
        ),
        CatalogueEntry(
            "jnlpba-iobes",
            "JNLPBA-IOBES",
            Scheme.IOBES,
            ("protein", "DNA", "RNA", "cell_type", "cell_line"),
            tuple(_file(split, None, None) for split in Split),
            f"GENIA project licence; {_UNBUNDLED}",
            broken=(
                "its sentence breaks drift by one word an abstract at the public source; "
                "use jnlpba instead"
            ),
            fetched=False,
        ),
    )
}
"""Every known corpus by name. A folder's name (`NCBI-disease-IOBES`) is also accepted."""


def find_entry(name: str) -> CatalogueEntry | None:
    """Return the entry with the corpus name or folder `name` (case-insensitive), or None."""
    wanted = name.casefold()
    for entry in CATALOGUE.values():
        if wanted in (entry.name.casefold(), entry.folder.casefold()):
            return entry
    return None


def known_entry(name: str) -> CatalogueEntry:
    """Return the entry with the corpus name or folder `name`.

    :raises CorpusError: if the catalogue has no such corpus.
    """
    entry = find_entry(name)
    if entry is None:
        raise CorpusError(f"no corpus {name!r} is known; known are {', '.join(CATALOGUE)}")
    return entry
