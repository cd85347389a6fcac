"""A corpus on disk: its folder, and its sentences by split."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from schemas.errors import CorpusError
from schemas.tags import OUTSIDE, split_tag
from training.corpora.catalogue import (
    CatalogueEntry,
    Split,
    Use,
    catalogue,
    find_entry,
    is_among_first,
    read_entry,
)
from training.corpora.digests import content_sha256
from training.corpora.layouts.protocol import Found, Layout, Reading
from training.corpora.layouts.table import LAYOUTS, LayoutName
from training.corpora.schemes import Scheme
from training.corpora.splitting import is_chosen, read_documents
from training.corpora.tsv import EMPTY, Problem, Sentence, detect_file_scheme


@dataclass(frozen=True, slots=True)
class Corpus:
    """A corpus in a local folder: `folder/<split>.tsv`, unless its description names other files.

    `entry` is its description, None for a folder without one. Where `labels` is None, any label is
    accepted.
    """

    name: str
    folder: Path
    scheme: Scheme
    labels: tuple[str, ...] | None
    entry: CatalogueEntry | None = None

    def path(self, split: Split) -> Path:
        """Return the path of the file of `split`."""
        return self.folder / (f"{split}.tsv" if self.entry is None else self.entry.file_name(split))

    @property
    def layout(self) -> Layout:
        """How its files are read."""
        return LAYOUTS[LayoutName.COLUMNS if self.entry is None else self.entry.layout]

    def has(self, split: Split) -> bool:
        """Whether the file of `split` exists, or its folder where the layout has folders."""
        path = self.path(split)
        return path.is_dir() if self.layout.folders else path.is_file()

    def scan(self, split: Split) -> Iterator[Found]:
        """Yield the valid sentences of `split`, its problems, and what was left out.

        :raises CorpusError: if it cannot be read at all.
        """
        dropped = () if self.entry is None else self.entry.drop
        reading = Reading(self.scheme, self.labels, dropped)
        only, without = (None if one is None else read_documents(one) for one in self.lists(split))
        for found in self.layout.scan(self.path(split), reading):
            if not isinstance(found, Sentence) or is_chosen(found.document, only, without):
                yield found

    def lists(self, split: Split) -> tuple[Path | None, Path | None]:
        """Return the files that list the documents of `split`, and those that are not of it."""
        if self.entry is None:
            return None, None
        file, beside = self.entry.file(split), Path(self.entry.described_in).parent
        return (
            None if file.only is None else beside / file.only,
            None if file.without is None else beside / file.without,
        )

    def sha256(self, split: Split) -> str:
        """Return the digest of the file of `split`, and of the lists of its documents if any."""
        digests = [content_sha256(self.path(split))]
        digests += ["" if one is None else content_sha256(one) for one in self.lists(split)]
        if not any(digests[1:]):
            return digests[0]
        return hashlib.sha256("\n".join(digests).encode()).hexdigest()

    def require_trainable(self) -> None:
        """Check that its terms allow training.

        :raises CorpusError: if it is for evaluation only.
        """
        if self.entry is not None and self.entry.use is Use.EVALUATE:
            raise CorpusError(
                f"corpus {self.name!r} is for evaluation only, by its terms "
                f"({self.entry.licence or 'none stated'}): train on another one"
            )

    def sentences(self, split: Split) -> tuple[Sentence, ...]:
        """Read all sentences of `split`, with IOBES tags.

        :raises CorpusError: if the file is missing, empty or has a problem, or the corpus is known
            to be broken.
        """
        return self.read(split)[0]

    def read(self, split: Split) -> tuple[tuple[Sentence, ...], tuple[Problem, ...]]:
        """Read all sentences of `split`, and what was left out of them.

        :raises CorpusError: as `sentences`.
        """
        if self.entry is not None and self.entry.broken:
            raise CorpusError(f"{self.folder}: {self.entry.broken}")
        self.require(split)
        sentences: list[Sentence] = []
        left_out: list[Problem] = []
        for found in self.scan(split):
            if isinstance(found, Problem):
                raise CorpusError(str(found))
            if isinstance(found, Sentence):
                sentences.append(found)
            else:
                left_out.append(found.problem)
        if not sentences:
            raise CorpusError(str(Problem(self.path(split), 1, EMPTY)))
        return tuple(sentences), tuple(left_out)

    def require(self, split: Split) -> None:
        """Check that the file of `split` exists.

        :raises CorpusError: if it does not.
        """
        if not self.has(split):
            raise CorpusError(_missing(self, self.path(split)))


def _missing(corpus: Corpus, path: Path) -> str:
    name, entry = corpus.name, corpus.entry
    kind = "folder" if corpus.layout.folders else "file"
    advice = "name the folder that holds the corpora with --data"
    if entry is not None and find_entry(entry.name) is not entry:
        advice = f"the description of the corpus names its folder {entry.folder!r}"
        advice += f"; the files are published at {entry.url}" if entry.url else ""
    elif entry is not None and entry.fetched:
        advice += f", or get it with: pubner corpora fetch --corpus {name}"
    return f"corpus {name!r} is not there: expected the {kind} {path}; {advice}"


def corpora_root(option: Path | None, environ: Mapping[str, str]) -> Path:
    """Return the folder of the corpora; it need not exist.

    It is `option`, else PUBNER_CORPORA, else PUBNER_DATA, the folder of real data for development,
    else the cache that `pubner corpora fetch` fills. If the folder has a sub-folder `corpora`, that
    is returned.
    """
    given = option.expanduser() if option is not None else None
    named = given or _path(environ, "PUBNER_CORPORA") or _path(environ, "PUBNER_DATA")
    if named is None:
        return cache_root(environ)
    inner = named / "corpora"
    return inner if inner.is_dir() else named


def cache_root(environ: Mapping[str, str]) -> Path:
    """Return the folder that `pubner corpora fetch` fills by default."""
    cache = _path(environ, "XDG_CACHE_HOME") or Path.home() / ".cache"
    return cache / "pubner" / "corpora"


def _path(environ: Mapping[str, str], name: str) -> Path | None:
    value = environ.get(name, "").strip()
    return Path(value).expanduser() if value else None


def open_corpus(root: Path, name: str) -> Corpus:
    """Return the corpus `name` under `root`: one of the catalogue, or a user's own.

    A user's own corpus is described by a TOML file, `name` or `root/name` (`.toml` may be left out
    under `root`), or is a folder, `root/name` or `name` itself, with `train.tsv`, `devel.tsv` or
    `test.tsv` in it. A tag scheme that is not given is detected from all tags of train and devel,
    or from test if there is no other file.

    :raises CorpusError: if there is no such corpus.
    """
    entry = find_entry(name)
    if entry is not None and (is_among_first(entry) or known_folder(root, entry).is_dir()):
        return _described(entry, known_folder(root, entry))
    for folder in (root / name, Path(name)):
        own = Corpus(folder.name, folder, Scheme.IOBES, None)
        if any(own.path(split).is_file() for split in Split):
            return _detected(own)
    for path in (root / name, Path(name), root / f"{name}.toml"):
        if path.suffix == ".toml" and path.is_file():
            own_entry = read_entry(path)
            return _described(own_entry, path.parent / own_entry.folder)
    if entry is not None:
        return _described(entry, known_folder(root, entry))
    raise CorpusError(
        f"no corpus {name!r}: expected one of {', '.join(catalogue())}, "
        f"a folder under {root} with train.tsv, devel.tsv or test.tsv, or a TOML file that "
        "describes one"
    )


def known_folder(root: Path, entry: CatalogueEntry) -> Path:
    """Return the folder of a known corpus: under `root`, or beside it if `root` is `…/corpora`."""
    beside = root.parent / entry.folder
    if root.name == "corpora" and not (root / entry.folder).is_dir() and beside.is_dir():
        return beside
    return root / entry.folder


def _described(entry: CatalogueEntry, folder: Path) -> Corpus:
    corpus = Corpus(entry.name, folder, entry.scheme, entry.labels or None, entry)
    return _detected(corpus) if entry.detects_scheme else corpus


def _detected(corpus: Corpus) -> Corpus:
    """Return `corpus` with the scheme that its files have, if there are any."""
    present = [split for split in Split if corpus.path(split).is_file()]
    telling = [split for split in present if split != Split.TEST] or present
    if not telling:
        return corpus
    return replace(corpus, scheme=detect_file_scheme(*map(corpus.path, telling)))


def require_corpora(
    root: Path, names: Sequence[str], splits: Sequence[Split], *, training: bool = False
) -> None:
    """Check that corpora exist, before the modules that read them are imported.

    :param training: whether they are to be trained on
    :raises CorpusError: naming the first that is unknown, lacks the file of a split, or is for
        evaluation only.
    """
    for name in names:
        corpus = open_corpus(root, name)
        if training:
            corpus.require_trainable()
        for split in splits:
            corpus.require(split)


def present_corpora(root: Path, split: Split) -> tuple[str, ...]:
    """Return the names of the usable known corpora with a file of `split` under `root`."""
    return tuple(
        entry.name
        for entry in catalogue().values()
        if not entry.broken and (known_folder(root, entry) / entry.file_name(split)).is_file()
    )


def mention_count(sentence: Sentence) -> int:
    """Return the number of mentions of `sentence`."""
    return sum(tag != OUTSIDE and split_tag(tag)[0] in ("B", "S") for tag in sentence.tags)
