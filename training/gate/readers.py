"""The two checkpoints that the gate reads with: which one failed is known where either does."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, Literal

from schemas.errors import PubnerError
from schemas.records import Annotation
from schemas.tasks import Task
from training.evaluation.predict import Annotator

Side = Literal["active", "candidate"]
ACTIVE: Final = "active"
CANDIDATE: Final = "candidate"


class UnusableError(Exception):
    """A checkpoint that cannot be loaded, or fails on a text: on which `side`, and why."""

    def __init__(self, side: Side, reason: str) -> None:
        super().__init__(f"the {side} checkpoint: {reason}")
        self.side = side
        self.reason = reason


@contextmanager
def blaming(side: Side, kind: type[Exception]) -> Iterator[None]:
    """Say of errors of a kind that a checkpoint is to blame.

    :raises UnusableError: in place of them.
    """
    try:
        yield
    except kind as error:
        known = isinstance(error, PubnerError)
        raise UnusableError(
            side, str(error) if known else f"{type(error).__name__}: {error}"
        ) from error


@dataclass(frozen=True, slots=True)
class Reader:
    """A loaded checkpoint, and on which side it stands."""

    side: Side
    tagger: Annotator

    @property
    def tasks(self) -> tuple[Task, ...]:
        """The heads."""
        return self.tagger.tasks

    def annotate(self, texts: Sequence[str]) -> list[Annotation]:
        """Find the mentions in each text.

        :raises UnusableError: if that fails, whatever the reason.
        """
        with blaming(self.side, Exception):
            return self.tagger.annotate(texts)
