"""In-domain text for MLM training: files and corpora as flat arrays of word pieces and windows.

The word pieces of all documents are concatenated in a few arrays, so that a window is a pair of
offsets, and a batch is gathered without a Python loop over pieces.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from schemas.errors import InputError, RecordError, TrainingError
from training.corpora.catalogue import Split
from training.corpora.corpus import open_corpus
from training.corpora.spans import sentence_text
from worker.checkpoint.folder import file_digest
from worker.cli.input_files import regular_file
from worker.readers.failures import Failure
from worker.readers.lines import split_lines
from worker.readers.streams import open_decompressed
from worker.system.batching import in_groups
from worker.text.tokenisation import WordPieceTokeniser
from worker.text.windows import SPECIAL_PIECES

_CHUNK = 1024  # passages that are tokenised at once


@dataclass(frozen=True, slots=True)
class Passage:
    """A text that is tokenised as a unit; it starts a document, or may join the one before it."""

    text: str
    opens_document: bool = True


@dataclass(frozen=True, slots=True)
class TextSource:
    """A source of text: the name of a file or corpus, its SHA-256, and counts of its content.

    `texts` counts the citations or sentences that were read, `bad_lines` the lines that gave no
    text; `first_problem` is the reason for the first of these.
    """

    name: str
    kind: str
    sha256: str
    texts: int
    bad_lines: int = 0
    first_problem: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Pieces:
    """The concatenated word pieces of many documents; arrays are (pieces,) except `bounds`.

    `ids` are vocabulary ids, `case` letter-case classes, `first` marks the first piece of each
    pre-token; document `d` consists of the pieces `bounds[d]` to `bounds[d + 1]`, shape (documents
    + 1,).
    """

    ids: npt.NDArray[np.int32]
    case: npt.NDArray[np.uint8]
    first: npt.NDArray[np.bool_]
    bounds: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def documents(self) -> int:
        """The number of documents."""
        return len(self.bounds) - 1

    def take(self, documents: npt.NDArray[np.int64]) -> "Pieces":
        """Return the pieces of `documents`, in the given order."""
        spans = [slice(self.bounds[d], self.bounds[d + 1]) for d in documents]
        lengths = self.bounds[documents + 1] - self.bounds[documents]
        return Pieces(
            _joined([self.ids[span] for span in spans], np.int32),
            _joined([self.case[span] for span in spans], np.uint8),
            _joined([self.first[span] for span in spans], np.bool_),
            np.concatenate(([0], np.cumsum(lengths))).astype(np.int64),
        )


def read_texts(path: Path) -> tuple[list[Passage], TextSource]:
    """Read a JSONL file, plain or gzip: one object per line with `title`, `abstract`, or both.

    An abstract is a string or, as in citation messages, a list of objects with `text`. Lines that
    give no text are skipped and counted.

    :raises InputError: if the file cannot be read or is not a regular file, or no line gives text.
    """
    passages = []
    bad, problem = 0, ""
    path = regular_file(str(path))
    try:
        with path.open("rb") as stream:
            for number, line in enumerate(split_lines(open_decompressed(stream)), start=1):
                if isinstance(line, bytes) and (not line or line.isspace()):
                    continue
                try:
                    passages.append(Passage(_text_of(line)))
                except RecordError as error:
                    bad += 1
                    problem = problem or f"line {number}: {error}"
        digest = file_digest(path)
    except OSError as error:
        raise InputError(
            f"the text file {path} cannot be read: {error.strerror}; name a JSONL file with --texts"
        ) from error
    if not passages:
        raise InputError(
            f"{path} holds no text ({problem or 'it is empty'}); expected lines of JSON objects "
            "with title and abstract"
        )
    return passages, TextSource(path.name, "texts", digest, len(passages), bad, problem)


def _text_of(line: bytes | Failure) -> str:
    if isinstance(line, Failure):
        raise RecordError(line.error)
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise RecordError(f"no JSON: {error}") from error
    if not isinstance(record, dict):
        raise RecordError("no JSON object")
    text = " ".join(part for part in (_string(record, "title"), _abstract(record)) if part)
    if not text or text.isspace():
        raise RecordError("neither title nor abstract")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise RecordError("a lone surrogate, which is no character") from error
    return text


def _abstract(record: dict[str, Any]) -> str:
    value = record.get("abstract")
    if not isinstance(value, list):
        return _string(record, "abstract")
    if not all(isinstance(part, dict) for part in value):
        raise RecordError("a part of abstract is no object")
    return " ".join(_string(part, "text") for part in value)


def _string(record: dict[str, Any], name: str) -> str:
    value = record.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise RecordError(f"{name} is no string")
    return value


def read_corpus(root: Path, name: str) -> tuple[list[Passage], TextSource]:
    """Read the sentences of a corpus's training split; no other split is opened.

    Consecutive sentences may be joined to one document, but not across a marked document start.

    :raises CorpusError: if the corpus is unknown, missing, or has a problem.
    """
    corpus = open_corpus(root, name)
    corpus.require_trainable()
    sentences = corpus.sentences(Split.TRAIN)
    passages = [
        Passage(sentence_text(sentence.words)[0], number == 0 or sentence.starts_document)
        for number, sentence in enumerate(sentences)
    ]
    digest = corpus.sha256(Split.TRAIN)
    return passages, TextSource(corpus.name, "corpus, training split", digest, len(passages))


def tokenise_passages(
    passages: Iterable[Passage],
    tokeniser: WordPieceTokeniser,
    max_pieces: int,
    progress: Callable[[int], None] = lambda _: None,
) -> Pieces:
    """Tokenise passages, and join consecutive ones to documents where possible.

    A passage joins the document before it unless it starts one, or the two together would be longer
    than a window of `max_pieces`. Joining by a space adds no word piece. Duplicate documents are
    dropped.

    :param progress: called with the number of passages tokenised
    :raises TrainingError: if the result has no word piece.
    """
    room = max_pieces - SPECIAL_PIECES
    kept = _Documents()
    for group in in_groups(passages, _CHUNK):
        encoded = tokeniser.encode([passage.text for passage in group])
        for passage, pieces in zip(group, encoded, strict=True):
            if passage.opens_document or kept.length + len(pieces) > room:
                kept.close()
            kept.add(pieces.ids, pieces.case, pieces.first)
        progress(len(group))
    kept.close()
    if not kept.lengths:
        raise TrainingError("there is no text to train on; name some with --texts or --corpus")
    return Pieces(
        _joined(kept.ids, np.int32),
        _joined(kept.case, np.uint8),
        _joined(kept.first, np.bool_),
        np.concatenate(([0], np.cumsum(kept.lengths))).astype(np.int64),
    )


class _Documents:
    """Documents under construction; `length` is the open one's, `lengths` the closed ones'."""

    def __init__(self) -> None:
        self.ids: list[npt.NDArray[np.int32]] = []
        self.case: list[npt.NDArray[np.uint8]] = []
        self.first: list[npt.NDArray[np.bool_]] = []
        self.lengths: list[int] = []
        self.length = 0
        self._begun = 0
        self._seen: set[bytes] = set()

    def add(
        self,
        ids: npt.NDArray[np.int32],
        case: npt.NDArray[np.uint8],
        first: npt.NDArray[np.bool_],
    ) -> None:
        self.ids.append(ids)
        self.case.append(case)
        self.first.append(first)
        self.length += len(ids)

    def close(self) -> None:
        """Close the open document; drop it if it is empty or a duplicate."""
        digest = hashlib.blake2b(digest_size=16)
        for part in self.ids[self._begun :]:
            digest.update(part.tobytes())
        if self.length and digest.digest() not in self._seen:
            self._seen.add(digest.digest())
            self.lengths.append(self.length)
        else:
            for parts in (self.ids, self.case, self.first):
                del parts[self._begun :]
        self._begun, self.length = len(self.ids), 0


def _joined(parts: Sequence[npt.NDArray[Any]], kind: type[np.generic]) -> npt.NDArray[Any]:
    return np.concatenate(parts) if parts else np.zeros(0, dtype=kind)


def hold_out(pieces: Pieces, share: float, seed: int) -> tuple[Pieces, Pieces]:
    """Split the documents at random into training documents and a held-out `share` (at least one).

    :raises TrainingError: if there are fewer than two documents.
    """
    if pieces.documents < 2:
        raise TrainingError(
            f"the text makes {pieces.documents} different document, expected 2 or more: one is "
            "held out to measure with; name more text"
        )
    count = min(max(1, round(share * pieces.documents)), pieces.documents - 1)
    order = np.random.default_rng([seed, 0]).permutation(pieces.documents)
    return pieces.take(np.sort(order[count:])), pieces.take(np.sort(order[:count]))


def pack_windows(pieces: Pieces, max_pieces: int) -> npt.NDArray[np.int64]:
    """Partition all pieces into windows of at most `max_pieces`, special pieces included.

    Consecutive documents share a window while they fit it whole (FULL-SENTENCES of Liu et al. 2019,
    "RoBERTa"). A document longer than a window is cut at pre-tokens into parts of about equal
    length.

    :returns: start and end of each window in the flat arrays, shape (windows, 2)
    """
    room = max_pieces - SPECIAL_PIECES
    words = np.flatnonzero(pieces.first)
    windows: list[tuple[int, int]] = []
    begin = end = 0  # the open window
    for start, stop in zip(pieces.bounds[:-1].tolist(), pieces.bounds[1:].tolist(), strict=True):
        if stop - begin > room:
            if end > begin:
                windows.append((begin, end))
            begin = start
        if stop - start > room:
            windows.extend(_split_document(start, stop, room, words))
            begin = stop
        end = stop
    if end > begin:
        windows.append((begin, end))
    return np.array(windows, dtype=np.int64).reshape(-1, 2)


def _split_document(
    start: int, stop: int, room: int, words: npt.NDArray[np.int64]
) -> Iterator[tuple[int, int]]:
    while stop - start > room:
        parts = -(-(stop - start) // room)
        wanted = start + -(-(stop - start) // parts)
        # The last pre-token that starts at or before `wanted`; a longer pre-token is split.
        found = int(words[np.searchsorted(words, wanted, side="right") - 1])
        cut = found if found > start else wanted
        yield start, cut
        start = cut
    yield start, stop
