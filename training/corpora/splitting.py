"""Seeded splits of a corpus by document, kept as a list of document names in a file."""

import hashlib
import re
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from schemas.errors import CorpusError
from training.corpora.tsv import Sentence
from worker.storage.atomic import write_whole

_PMID = re.compile(r"(?:PMID[-:]?)?([0-9]{1,8})(?:_[0-9]+)?")


def pmid_of(document: str) -> str | None:
    """Return the PMID that a document's name states, as `123`, `PMID-123` and `123_4` do."""
    found = _PMID.fullmatch(document)
    return None if found is None else found[1].lstrip("0")


def draw_documents(sentences: Iterable[Sentence], share: float, seed: int) -> tuple[str, ...]:
    """Return the names of a `share` of the documents, at least one, in the corpus's order.

    Documents of one PMID are drawn together. Whether a PMID is drawn depends on its digest with the
    seed, so a few more documents, or another order, change little.

    :raises CorpusError: if the sentences are not of documents with names, or all would be drawn.
    """
    names = tuple(dict.fromkeys(sentence.document for sentence in sentences))
    if "" in names or not names:
        raise CorpusError(
            "the corpus has no document names, so it cannot be split by document: expected the "
            "layout pubtator, bioc, brat or jsonl"
        )
    keys = sorted({_key(name) for name in names}, key=lambda key: (_rank(key, seed), key))
    drawn = set(keys[: max(1, round(share * len(keys)))])
    if len(drawn) == len(keys):
        raise CorpusError(
            f"{share:g} of {len(keys)} documents is all of them; a smaller share was expected"
        )
    return tuple(name for name in names if _key(name) in drawn)


def _key(name: str) -> str:
    return pmid_of(name) or name


def _rank(key: str, seed: int) -> bytes:
    return hashlib.sha256(f"{seed} {key}".encode("utf-8", "surrogatepass")).digest()


def write_documents(path: Path, names: Sequence[str]) -> None:
    """Write the names of documents to a file, one a line.

    :raises CorpusError: if a name has a line break.
    """
    for name in names:
        if len(name.splitlines()) != 1 or name != name.strip():
            raise CorpusError(f"the document name {name!r:.60} cannot stand in a line of its own")
    write_whole(path, "".join(f"{name}\n" for name in names))


def read_documents(path: Path) -> frozenset[str]:
    """Return the names of documents in a file that `write_documents` wrote.

    :raises CorpusError: if it cannot be read, or has none.
    """
    try:
        names = frozenset(path.read_text("utf-8").splitlines()) - {""}
    except (OSError, UnicodeDecodeError) as error:
        raise CorpusError(f"the list of documents {path} cannot be read: {error}") from error
    if not names:
        raise CorpusError(f"the list of documents {path} is empty; a name a line was expected")
    return names


def is_chosen(document: str, only: Collection[str] | None, without: Collection[str] | None) -> bool:
    """Whether a document is in the list `only` and not in the list `without`, if there are any."""
    return (only is None or document in only) and (without is None or document not in without)
