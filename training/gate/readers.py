"""The two loaded checkpoints of the gate; their errors record which one failed."""

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
    """A checkpoint that cannot be loaded or fails on a text, with its `side` and the reason."""

    def __init__(self, side: Side, reason: str) -> None:
        super().__init__(f"the {side} checkpoint: {reason}")
        self.side = side
        self.reason = reason


@contextmanager
def blaming(side: Side, kind: type[Exception]) -> Iterator[None]:
    """Convert errors of type `kind` to errors of the checkpoint on `side`.

    :raises UnusableError: instead of them.
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
    """A loaded checkpoint and its side."""

    side: Side
    tagger: Annotator

    @property
    def tasks(self) -> tuple[Task, ...]:
        """The heads."""
        return self.tagger.tasks

    def annotate(self, texts: Sequence[str]) -> list[Annotation]:
        """Predict the mentions in each text.

        :raises UnusableError: if that fails, whatever the reason.
        """
        with blaming(self.side, Exception):
            return self.tagger.annotate(texts)
