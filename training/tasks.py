"""The task of a user's own corpus, told from its labels."""

from collections.abc import Iterable

from schemas.errors import CorpusError
from schemas.tags import split_tag
from schemas.tasks import EntityType, Label, Task
from training.corpora.tsv import Sentence

_KNOWN: dict[str, EntityType] = {
    "".join(filter(str.isalnum, kind.value.lower())): kind for kind in EntityType
} | {"drug": EntityType.CHEMICAL, "chem": EntityType.CHEMICAL, "cell": EntityType.CELL_TYPE}


def corpus_task(name: str, sentences: Iterable[Sentence]) -> Task:
    """Return a task named `name` with the labels that `sentences` use, in alphabetic order.

    :raises CorpusError: if a label is like none of the entity types.
    """
    labels = sorted(
        {split_tag(tag)[1] for sentence in sentences for tag in sentence.tags if tag != "O"}
    )
    if not labels:
        raise CorpusError(f"corpus {name!r} has no mention at all; nothing can be learned from it")
    out = []
    for label in labels:
        kind = _KNOWN.get("".join(filter(str.isalnum, label.lower())))
        if kind is None:
            raise CorpusError(
                f"corpus {name!r} has the label {label!r}, which is like none of the entity types "
                f"{', '.join(EntityType)}; rename it to one of them"
            )
        out.append(Label(label, kind))
    return Task(name, tuple(out))
