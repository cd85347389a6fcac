"""What a layout is: it reads the files of a split as sentences, problems and oddities."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from training.corpora.schemes import Scheme
from training.corpora.tsv import Problem, Sentence


@dataclass(frozen=True, slots=True)
class Reading:
    """How a corpus is read: its tag scheme, its labels (None: any), and the labels to leave out."""

    scheme: Scheme
    labels: tuple[str, ...] | None
    dropped: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Oddity:
    """Something in a corpus that is left out or doubtful, and does not prevent training on it."""

    problem: Problem


Found = Sentence | Problem | Oddity


class Layout(Protocol):
    """Reads the files of a split.

    `suffix` follows the split in the default name of its file, such as `.tsv` in `train.tsv`. A
    layout has `folders` if a split is a folder of files.
    """

    @property
    def suffix(self) -> str:
        """The end of a file's default name."""

    @property
    def folders(self) -> bool:
        """Whether a split is a folder."""

    def scan(self, path: Path, reading: Reading) -> Iterator[Found]:
        """Yield the valid sentences, and a problem in place of what is invalid.

        :raises CorpusError: if `path` cannot be read at all.
        """
