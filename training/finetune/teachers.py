"""Soft tags: what an ensemble of trained checkpoints thinks of every pre-token.

The mean of the teachers' tag probabilities, head by head, is learned from instead of, or beside,
gold tags (Hinton et al. 2015, "Distilling the Knowledge in a Neural Network"). A teacher need not
have every head: single-task and multi-task checkpoints may teach together, each the heads it has.
"""

import fcntl
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from schemas.errors import TrainingError
from training.corpora.tsv import Sentence
from training.corpora.windows import document_ranges, join_sentences
from training.data.examples import IGNORED, UNLABELLED, LabelledPieces
from training.data.sampling import Material
from worker.decoding.cpu import HeadLayout, head_layout
from worker.system.batching import in_groups
from worker.tagger import CheckpointTagger
from worker.text.reading_table import NEWEST
from worker.text.tokenisation import WordPieceTokeniser

SoftTags = npt.NDArray[np.float16]

_WINDOW_SENTENCES = 12
_TEXTS_AT_ONCE = 256


@dataclass(frozen=True, slots=True, eq=False)
class Teachers:
    """Loaded checkpoints that teach together; every head of `layout` has at least one."""

    members: tuple[CheckpointTagger, ...]
    layout: HeadLayout

    def __post_init__(self) -> None:
        """Check that each head is taught.

        :raises TrainingError: if a head has no teacher, or teachers split words differently.
        """
        first, *others = (member.encoder.tokeniser for member in self.members)
        for number, other in enumerate(others, start=1):
            if other.digest != first.digest:
                raise TrainingError(
                    f"the teachers {self.members[0].id} and {self.members[number].id} have "
                    "different tokenisers; let teachers of one encoder teach together"
                )
        taught = {task for member in self.members for task in member.tasks}
        for task in self.layout.tasks:
            if task not in taught:
                raise TrainingError(
                    f"no teacher has the head {task.name!r} with the labels "
                    f"{', '.join(task.label_names)}; name one that has with --teacher"
                )

    def read(
        self, texts: Sequence[str], progress: Callable[[int], None] = lambda _: None
    ) -> Iterator[SoftTags]:
        """Yield the mean tag probabilities of each text, shape (pre-tokens, tags of all heads).

        :param progress: is told how many texts were read
        """
        for group in in_groups(texts, _TEXTS_AT_ONCE):
            yield from self._read(group)
            progress(len(group))

    def _read(self, texts: Sequence[str]) -> list[SoftTags]:
        # Whatever they were trained with, they read as what learns from them reads.
        pieces = self.members[0].encoder.tokeniser.with_reading(NEWEST).encode(texts)
        ends = np.cumsum([np.count_nonzero(text.first) for text in pieces])
        total = np.zeros((int(ends[-1]), self.layout.width), dtype=np.float32)
        counts = np.zeros(self.layout.width, dtype=np.float32)
        for member in self.members:
            table = np.concatenate([one.scores for one in member.piece_scores(pieces)])
            own = head_layout(member.tasks)
            for task, part in zip(own.tasks, own.slices, strict=True):
                for taught, place in zip(self.layout.tasks, self.layout.slices, strict=True):
                    if taught == task:
                        total[:, place] += _softmax(table[:, part])
                        counts[place] += 1
        return np.split((total / counts).astype(np.float16), ends[:-1])


def _softmax(scores: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    weights = np.exp(scores - scores.max(axis=1, keepdims=True))
    out: npt.NDArray[np.float32] = weights / weights.sum(axis=1, keepdims=True)
    return out


def teach(
    teachers: Teachers,
    material: Material,
    sentences: Sequence[Sequence[Sentence]],
    texts: Sequence[str],
    cache: Path,
    progress: Callable[[int, int], None] = lambda *_: None,
) -> Material:
    """Return `material` with soft tags for each sentence of its corpora and each of its texts.

    Sentences are read in their documents, up to twelve at once. What the teachers said is kept in
    the file `cache`, and taken from there by a run that goes on.

    :param sentences: of each corpus of `material`, in order
    :param texts: the texts of `material.texts`, in order
    :raises TrainingError: if the cache cannot be read.
    """
    every = [text for corpus in sentences for text in _windows(corpus)] + list(texts)
    done = 0

    def told(count: int) -> None:
        nonlocal done
        done += count
        progress(done, len(every))

    with _locked(cache):
        rows = _cached(cache)
        if rows is None:
            rows = np.concatenate(list(teachers.read(every, told)))
            _keep(cache, rows)
    place = 0

    def take(pieces: LabelledPieces) -> LabelledPieces:
        nonlocal place
        count = int(np.count_nonzero(pieces.tags != IGNORED))
        taken = rows[place : place + count]
        place += count
        return replace(pieces, soft=taken)

    corpora = tuple(
        replace(
            data,
            sentences=tuple(replace(one, pieces=take(one.pieces)) for one in data.sentences),
        )
        for data in material.corpora
    )
    texts_taught = tuple(take(pieces) for pieces in material.texts)
    taught = replace(material, corpora=corpora, texts=texts_taught)
    if place != len(rows):
        raise TrainingError(
            f"{cache} holds soft tags of {len(rows)} pre-tokens, expected {place}; it is of other "
            "data: start over with --restart"
        )
    return taught


def _windows(sentences: Sequence[Sentence]) -> list[str]:
    return [
        join_sentences(sentences, range(start, min(start + _WINDOW_SENTENCES, document.stop))).text
        for document in document_ranges(sentences)
        for start in range(document.start, document.stop, _WINDOW_SENTENCES)
    ]


def unlabelled(texts: Sequence[str], tokeniser: WordPieceTokeniser) -> tuple[LabelledPieces, ...]:
    """Split texts without gold into word pieces."""
    out = []
    for pieces in tokeniser.encode(texts):
        tags = np.where(pieces.first, UNLABELLED, IGNORED).astype(np.int64)
        out.append(LabelledPieces(pieces.ids, pieces.case, tags))
    return tuple(out)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Let one process at a time make what others then read."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _cached(path: Path) -> SoftTags | None:
    if not path.is_file():
        return None
    try:
        rows: SoftTags = load_file(path)["soft"]
    except (OSError, KeyError, SafetensorError) as error:
        raise TrainingError(
            f"the soft tags in {path} cannot be read ({error}); start over with --restart"
        ) from error
    return rows


def _keep(path: Path, rows: SoftTags) -> None:
    temporary = path.with_name(f".{path.name}.tmp")
    save_file({"soft": rows}, temporary)
    temporary.replace(path)
