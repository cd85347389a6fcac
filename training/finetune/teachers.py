"""Soft labels: the mean tag probabilities that a teacher ensemble gives every pre-token.

For each head the student learns from them instead of, or in addition to, gold tags (Hinton et al.
2015, "Distilling the Knowledge in a Neural Network"). A teacher need not have every head:
single-task and multi-task checkpoints may be combined, each for its own heads.
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
from worker.storage.atomic import written_whole
from worker.system.batching import in_groups
from worker.tagger import CheckpointTagger
from worker.text.reading_table import NEWEST
from worker.text.tokenisation import WordPieceTokeniser

SoftLabels = npt.NDArray[np.float16]

_WINDOW_SENTENCES = 12
_TEXTS_AT_ONCE = 256


@dataclass(frozen=True, slots=True, eq=False)
class Teachers:
    """An ensemble of loaded checkpoints; every head of `layout` has at least one teacher."""

    models: tuple[CheckpointTagger, ...]
    layout: HeadLayout

    def __post_init__(self) -> None:
        """Check that each head has a teacher.

        :raises TrainingError: if a head has no teacher, or the tokenisers of teachers differ.
        """
        first, *others = (model.encoder.tokeniser for model in self.models)
        for number, other in enumerate(others, start=1):
            if other.digest != first.digest:
                raise TrainingError(
                    f"the teachers {self.models[0].id} and {self.models[number].id} have "
                    "different tokenisers; use teachers with the same encoder"
                )
        covered = {task for model in self.models for task in model.tasks}
        for task in self.layout.tasks:
            if task not in covered:
                raise TrainingError(
                    f"no teacher has the head {task.name!r} with the labels "
                    f"{', '.join(task.label_names)}; name one that does with --teacher"
                )

    def read(
        self, texts: Sequence[str], progress: Callable[[int], None] = lambda _: None
    ) -> Iterator[SoftLabels]:
        """Yield the mean tag probabilities of each text, shape (pre-tokens, tags of all heads).

        :param progress: called with the number of texts read
        """
        for group in in_groups(texts, _TEXTS_AT_ONCE):
            yield from self._read(group)
            progress(len(group))

    def _read(self, texts: Sequence[str]) -> list[SoftLabels]:
        # Teachers read text as the student does, whatever they were trained with.
        pieces = self.models[0].encoder.tokeniser.with_reading(NEWEST).encode(texts)
        ends = np.cumsum([np.count_nonzero(text.first) for text in pieces])
        total = np.zeros((int(ends[-1]), self.layout.width), dtype=np.float32)
        counts = np.zeros(self.layout.width, dtype=np.float32)
        for model in self.models:
            table = np.concatenate([one.scores for one in model.piece_scores(pieces)])
            own = head_layout(model.tasks)
            for task, part in zip(own.tasks, own.slices, strict=True):
                for covered, columns in zip(self.layout.tasks, self.layout.slices, strict=True):
                    if covered == task:
                        total[:, columns] += _softmax(table[:, part])
                        counts[columns] += 1
        return np.split((total / counts).astype(np.float16), ends[:-1])


def _softmax(scores: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    weights = np.exp(scores - scores.max(axis=1, keepdims=True))
    out: npt.NDArray[np.float32] = weights / weights.sum(axis=1, keepdims=True)
    return out


def add_soft_labels(
    teachers: Teachers,
    material: Material,
    sentences: Sequence[Sequence[Sentence]],
    texts: Sequence[str],
    cache: Path,
    progress: Callable[[int, int], None] = lambda *_: None,
) -> Material:
    """Return `material` with soft labels for each sentence of its corpora and each of its texts.

    Sentences are read in context, up to twelve of a document at once. The soft labels are stored in
    the file `cache`, and read from it when a run resumes.

    :param sentences: of each corpus of `material`, in order
    :param texts: the texts of `material.texts`, in the same order
    :raises TrainingError: if the cache cannot be read.
    """
    passages = [text for corpus in sentences for text in _windows(corpus)] + list(texts)
    done = 0

    def report(count: int) -> None:
        nonlocal done
        done += count
        progress(done, len(passages))

    with _locked(cache):
        rows = _read_cache(cache)
        if rows is None:
            rows = np.concatenate(list(teachers.read(passages, report)))
            _write_cache(cache, rows)
    offset = 0

    def next_labels(pieces: LabelledPieces) -> LabelledPieces:
        nonlocal offset
        count = int(np.count_nonzero(pieces.tags != IGNORED))
        labels = rows[offset : offset + count]
        offset += count
        return replace(pieces, soft=labels)

    corpora = tuple(
        replace(
            data,
            sentences=tuple(replace(one, pieces=next_labels(one.pieces)) for one in data.sentences),
        )
        for data in material.corpora
    )
    labelled_texts = tuple(next_labels(pieces) for pieces in material.texts)
    labelled = replace(material, corpora=corpora, texts=labelled_texts)
    if offset != len(rows):
        raise TrainingError(
            f"{cache} holds soft labels of {len(rows)} pre-tokens, expected {offset}; it belongs "
            "to other data: start over with --restart"
        )
    return labelled


def _windows(sentences: Sequence[Sentence]) -> list[str]:
    return [
        join_sentences(sentences, range(start, min(start + _WINDOW_SENTENCES, document.stop))).text
        for document in document_ranges(sentences)
        for start in range(document.start, document.stop, _WINDOW_SENTENCES)
    ]


def tokenise_texts(
    texts: Sequence[str], tokeniser: WordPieceTokeniser
) -> tuple[LabelledPieces, ...]:
    """Split texts without gold into word pieces."""
    out = []
    for pieces in tokeniser.encode(texts):
        tags = np.where(pieces.first, UNLABELLED, IGNORED).astype(np.int64)
        out.append(LabelledPieces(pieces.ids, pieces.case, tags))
    return tuple(out)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the cache's lock: one process computes the soft labels, the others then read them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _read_cache(path: Path) -> SoftLabels | None:
    if not path.is_file():
        return None
    try:
        rows: SoftLabels = load_file(path)["soft"]
    except (OSError, KeyError, SafetensorError) as error:
        raise TrainingError(
            f"the soft labels in {path} cannot be read ({error}); start over with --restart"
        ) from error
    return rows


def _write_cache(path: Path, rows: SoftLabels) -> None:
    with written_whole(path) as temporary:
        save_file({"soft": rows}, temporary)
