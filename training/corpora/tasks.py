"""The task of a corpus, as its description gives it, or derived from its labels."""

from collections.abc import Iterable

from schemas.entity_types import KNOWN_TYPES, EntityType, near_miss
from schemas.errors import CorpusError, RecordError
from schemas.tags import split_tag
from schemas.tasks import Label, Task
from training.corpora.corpus import Corpus
from training.corpora.tsv import Sentence


def label_key(label: str) -> str:
    """Return a normalised label, equal for labels that differ only in spelling."""
    return "".join(filter(str.isalnum, label.lower()))


_KNOWN: dict[str, EntityType] = {label_key(kind): kind for kind in KNOWN_TYPES} | {
    "drug": EntityType.CHEMICAL,
    "chem": EntityType.CHEMICAL,
    "cell": EntityType.CELL_TYPE,
}


def entity_type_of(label: str) -> EntityType | None:
    """Return the entity type that `label` names: a known one, else a type of its own.

    None if it cannot name one.
    """
    known = _KNOWN.get(label_key(label))
    if known is not None:
        return known
    try:
        return EntityType(label)
    except RecordError:
        return None


def unknown_type(label: str) -> str:
    """Return the error text for a `label` that cannot name an entity type."""
    return (
        f"the label {label!r} cannot name an entity type; rename it to one, such as "
        f"{', '.join(list(KNOWN_TYPES)[:8])}, or map it to one under [labels] of a TOML file"
    )


def type_hint(label: str, kind: EntityType) -> str | None:
    """Return a warning if the entity type of `label` looks like a misspelt known one."""
    meant = near_miss(kind)
    if meant is None:
        return None
    return (
        f"the label {label!r} has the entity type {str(kind)!r}, which is not a known one; did you "
        f"mean {meant}?"
    )


def task_of(corpus: Corpus, sentences: Iterable[Sentence]) -> Task:
    """Return the task of a corpus: as described, else with the labels that `sentences` use.

    :raises CorpusError: if a label cannot name an entity type, or there is no mention.
    """
    described = None if corpus.entry is None else corpus.entry.task
    return described or corpus_task(corpus.name, sentences)


def corpus_task(name: str, sentences: Iterable[Sentence]) -> Task:
    """Return a task named `name` with the labels that `sentences` use, in alphabetic order.

    :raises CorpusError: if a label cannot name an entity type, or there is no mention.
    """
    labels = sorted(
        {split_tag(tag)[1] for sentence in sentences for tag in sentence.tags if tag != "O"}
    )
    if not labels:
        raise CorpusError(f"corpus {name!r} has no mention at all; nothing can be learned from it")
    out = []
    for label in labels:
        kind = entity_type_of(label)
        if kind is None:
            raise CorpusError(f"corpus {name!r}: {unknown_type(label)}")
        out.append(Label(label, kind))
    return Task(name, tuple(out))
