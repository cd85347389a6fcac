"""The task of a corpus, as its description gives it, or derived from its labels."""

from collections.abc import Iterable

from schemas.errors import CorpusError
from schemas.tags import split_tag
from schemas.tasks import EntityType, Label, Task
from training.corpora.corpus import Corpus
from training.corpora.tsv import Sentence


def label_key(label: str) -> str:
    """Return a normalised label, equal for labels that differ only in spelling."""
    return "".join(filter(str.isalnum, label.lower()))


_KNOWN: dict[str, EntityType] = {label_key(kind.value): kind for kind in EntityType} | {
    "drug": EntityType.CHEMICAL,
    "chem": EntityType.CHEMICAL,
    "cell": EntityType.CELL_TYPE,
}


def entity_type_of(label: str) -> EntityType | None:
    """Return the entity type that `label` names; None if it matches none."""
    return _KNOWN.get(label_key(label))


def unknown_type(label: str) -> str:
    """Return the error text for a `label` that matches no entity type."""
    return (
        f"the label {label!r} matches none of the entity types {', '.join(EntityType)}; rename it "
        "to one of them"
    )


def task_of(corpus: Corpus, sentences: Iterable[Sentence]) -> Task:
    """Return the task of a corpus: as described, else with the labels that `sentences` use.

    :raises CorpusError: if a label matches no entity type, or there is no mention.
    """
    described = None if corpus.entry is None else corpus.entry.task
    return described or corpus_task(corpus.name, sentences)


def corpus_task(name: str, sentences: Iterable[Sentence]) -> Task:
    """Return a task named `name` with the labels that `sentences` use, in alphabetic order.

    :raises CorpusError: if a label matches no entity type, or there is no mention.
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
