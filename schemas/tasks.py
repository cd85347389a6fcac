"""Tasks (one head per corpus) and their labels."""

from dataclasses import dataclass

from schemas.entity_types import KNOWN_TYPES, EntityType
from schemas.errors import PubnerError

__all__ = ["TASKS", "EntityType", "Label", "Task"]


@dataclass(frozen=True, slots=True)
class Label:
    """One label of a corpus: its own `name` and the normalised `entity_type`.

    `own_curie` is the meaning of a type that `KNOWN_TYPES` lacks, if it is given.
    """

    name: str
    entity_type: EntityType
    own_curie: str | None = None

    @property
    def curie(self) -> str | None:
        """The meaning of the entity type as a CURIE; None if it is unknown."""
        return self.own_curie or KNOWN_TYPES.get(self.entity_type)


@dataclass(frozen=True, slots=True)
class Task:
    """The task of one head: its `name` (also the head's name) and its labels in a fixed order."""

    name: str
    labels: tuple[Label, ...]

    @property
    def label_names(self) -> tuple[str, ...]:
        """The labels' own names, in order."""
        return tuple(label.name for label in self.labels)

    def entity_type(self, label: str) -> EntityType:
        """Return the normalised type of `label`.

        :raises PubnerError: if the task has no such label.
        """
        for known in self.labels:
            if known.name == label:
                return known.entity_type
        raise PubnerError(f"task {self.name!r} has no label {label!r}; it has {self.label_names}")


def _task(name: str, **labels: EntityType) -> Task:
    return Task(name, tuple(Label(label, kind) for label, kind in labels.items()))


TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        _task("ncbi-disease", Disease=EntityType.DISEASE),
        _task("bc5cdr", Chemical=EntityType.CHEMICAL, Disease=EntityType.DISEASE),
        _task("bc2gm", GENE=EntityType.GENE),
        _task(
            "jnlpba",
            protein=EntityType.PROTEIN,
            DNA=EntityType.DNA,
            RNA=EntityType.RNA,
            cell_type=EntityType.CELL_TYPE,
            cell_line=EntityType.CELL_LINE,
        ),
        _task("bc4chemd", Chemical=EntityType.CHEMICAL),
    )
}
"""The tasks of the five supported corpora, by head name."""
