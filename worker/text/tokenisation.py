"""Tokenisation into word pieces with code-point offsets, pre-tokens and letter-case classes.

The tokeniser is a WordPiece `tokenizer.json` (Wu et al. 2016; BERT's normaliser and pre-tokeniser,
Devlin et al. 2019). A *pre-token* is what BERT's pre-tokeniser splits off: a run of letters and
digits, or one punctuation mark. Tags are predicted at the first word piece of each pre-token.

If the tokeniser has a reading (`worker.text.reading_table`), characters are normalised first; all
offsets are into the original text.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tokenizers import Encoding, Tokenizer

from schemas.errors import CheckpointError, RecordError
from worker.checkpoint.files import read_bounded
from worker.text.reading_table import SOFT_HYPHEN, Reading, ReadText, reading_of
from worker.text.soft_hyphens import resolve_soft_hyphens

CASE_CLASSES = 4
"""The number of letter-case classes: 0 none upper, 1 first upper, 2 all upper, 3 mixed."""

# Line breaks that BERT's normaliser would drop, joining the words around them.
_DROPPED_BREAKS = "\v\f\x1c\x1d\x1e\x85"
_PLAIN_BREAKS = str.maketrans(dict.fromkeys(_DROPPED_BREAKS, "\n"))


@dataclass(frozen=True, slots=True, eq=False)
class WordPieces:
    """The word pieces of one text, without special tokens; all arrays have shape (pieces,).

    `ids` are vocabulary ids; `starts` and `ends` half-open code-point offsets into the text;
    `first` is true at the first piece of each pre-token; `case` is the letter-case class of the
    piece after normalisation (an uncased vocabulary loses it; see `CASE_CLASSES`).
    `line_lengths` is the number of pre-tokens in each line of the text, shape (lines,); lines end
    as in `str.splitlines`, and no pre-token contains a line break. The replacement of one character
    is never split over two pre-tokens.
    """

    ids: npt.NDArray[np.int32]
    starts: npt.NDArray[np.int32]
    ends: npt.NDArray[np.int32]
    first: npt.NDArray[np.bool_]
    case: npt.NDArray[np.uint8]
    line_lengths: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def pretoken_starts(self) -> npt.NDArray[np.int32]:
        """Where each pre-token begins, in code points; shape (pre-tokens,)."""
        return self.starts[self.first]

    @property
    def pretoken_ends(self) -> npt.NDArray[np.int32]:
        """Where each pre-token ends, in code points; shape (pre-tokens,)."""
        last = np.append(self.first[1:], True) if len(self.first) else self.first
        return self.ends[last]


class WordPieceTokeniser:
    """A loaded `tokenizer.json`, without truncation and padding."""

    def __init__(self, tokenizer: Tokenizer, reading: Reading | None = None) -> None:
        tokenizer.no_truncation()
        tokenizer.no_padding()
        self._tokenizer = tokenizer
        self._reading = reading
        # What the tokeniser itself puts around a text: MPNet has BERT's special pieces too, unused.
        around = tokenizer.encode("").tokens
        angled = len(around) == 2 and around[0].startswith("<")
        self.pad_id = self._special("[PAD]", "<pad>", angled=angled)
        self.start_id = self._special("[CLS]", "<s>", angled=angled)
        self.end_id = self._special("[SEP]", "</s>", angled=angled)
        self.unknown_id = self._special("[UNK]", "<unk>")

    def _special(self, *names: str, angled: bool = False) -> int:
        for name in reversed(names) if angled else names:
            found = self._tokenizer.token_to_id(name)
            if found is not None:
                return int(found)
        raise CheckpointError(
            f"the tokeniser has none of the special word pieces {names}; "
            "give a tokenizer.json of a BERT-like encoder"
        )

    @property
    def vocabulary_size(self) -> int:
        """The number of rows that an embedding table needs to have one for every vocabulary id."""
        return 1 + max(self._tokenizer.get_vocab().values(), default=-1)

    @property
    def digest(self) -> str:
        """The SHA-256 of the serialised tokeniser, independent of its reading."""
        return hashlib.sha256(self._tokenizer.to_str().encode()).hexdigest()

    @property
    def reading(self) -> str | None:
        """The name of the character normalisation table; None if there is none."""
        return None if self._reading is None else self._reading.name

    def with_reading(self, name: str) -> "WordPieceTokeniser":
        """Return the same tokeniser with the character normalisation table `name`."""
        return WordPieceTokeniser(self._tokenizer, reading_of(name))

    def vocabulary(self) -> dict[str, int]:
        """Return the id of every word piece, special ones included."""
        return dict(self._tokenizer.get_vocab())

    def encode(self, texts: Sequence[str]) -> list[WordPieces]:
        """Return the word pieces of each text, in order.

        :raises RecordError: if a text holds a lone surrogate, which is not Unicode text.
        """
        lines = [text.splitlines(keepends=True) for text in texts]
        try:
            read = [self._read(*given) for given in zip(texts, lines, strict=True)]
            encodings = self._tokenizer.encode_batch(
                [one.text for one in read], add_special_tokens=False
            )
        except (TypeError, UnicodeEncodeError) as error:
            raise RecordError(
                "the text holds a lone surrogate, which no UTF-8 output can store; "
                "fix the source's character encoding"
            ) from error
        except BaseException as error:
            if not is_panic(error):
                raise
            raise RecordError(
                f"the checkpoint's tokeniser fails on this text ({reason_of_panic(error)}); if "
                "other texts fail too, use another checkpoint"
            ) from error
        return [
            _word_pieces(one, encoding, [len(line) for line in cut])
            for one, encoding, cut in zip(read, encodings, lines, strict=True)
        ]

    def _read(self, text: str, lines: Sequence[str]) -> ReadText:
        if any(line[-1] in _DROPPED_BREAKS for line in lines):
            text = text.translate(_PLAIN_BREAKS)
        if self._reading is None:
            return ReadText(text)
        if SOFT_HYPHEN in text:
            text = resolve_soft_hyphens(text, self._count)
        return self._reading.read(text)

    def _count(self, words: Sequence[str]) -> list[int]:
        encodings = self._tokenizer.encode_batch(list(words), add_special_tokens=False)
        return [len(encoding) for encoding in encodings]

    def save(self, path: Path) -> None:
        """Write the tokeniser as `tokenizer.json` to `path`."""
        self._tokenizer.save(str(path), pretty=False)


def load_tokeniser(path: Path, reading: str | None = None) -> WordPieceTokeniser:
    """Load a `tokenizer.json`.

    :param reading: the name of the character normalisation table
    :raises CheckpointError: if the file is missing or invalid, or there is no such table.
    """
    table = None if reading is None else reading_of(reading)
    data = read_bounded(path)
    try:
        return WordPieceTokeniser(Tokenizer.from_buffer(data), table)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error
    except BaseException as error:  # the library raises bare Exception, and panics
        if not isinstance(error, Exception) and not is_panic(error):
            raise
        raise CheckpointError(
            f"{path} is not a readable tokenizer.json ({reason_of_panic(error)}); copy the "
            "checkpoint again"
        ) from error


def is_panic(error: BaseException) -> bool:
    """Whether the exception is a panic of a Rust library, whose class has no public name."""
    return type(error).__name__ == "PanicException"


def reason_of_panic(error: BaseException) -> str:
    """Return the text of a tokeniser's exception in one short line."""
    return " ".join(str(error).split())[:200]


def _word_pieces(read: ReadText, encoding: Encoding, line_lengths: Sequence[int]) -> WordPieces:
    offsets = np.array(encoding.offsets, dtype=np.int32).reshape(-1, 2)
    case = _case_classes(read.text, offsets[:, 0], offsets[:, 1])
    starts, ends = read.in_original(offsets[:, 0], offsets[:, 1])
    words = np.array(encoding.word_ids, dtype=np.int64)
    first = np.ones(len(words), dtype=np.bool_)
    first[1:] = words[1:] != words[:-1]
    if read.starts is not None:
        first[1:] &= starts[1:] >= ends[:-1]
    before = np.searchsorted(starts[first], np.cumsum([0, *line_lengths]))
    return WordPieces(
        ids=np.array(encoding.ids, dtype=np.int32),
        starts=starts,
        ends=ends,
        first=first,
        case=case,
        line_lengths=np.diff(before),
    )


def _case_classes(
    text: str, starts: npt.NDArray[np.int32], ends: npt.NDArray[np.int32]
) -> npt.NDArray[np.uint8]:
    """Return the letter-case class of each piece; shape (pieces,)."""
    if not len(starts):
        return np.zeros(0, dtype=np.uint8)
    points = np.frombuffer(text.encode("utf-32-le"), dtype=np.uint32)
    upper = (points >= ord("A")) & (points <= ord("Z"))
    lower = (points >= ord("a")) & (points <= ord("z"))
    foreign = points > 127
    if foreign.any():
        distinct, where = np.unique(points[foreign], return_inverse=True)
        characters = [chr(point) for point in distinct]
        upper[foreign] = np.array([c.isupper() for c in characters])[where]
        lower[foreign] = np.array([c.islower() for c in characters])[where]
    upper_before = np.concatenate(([0], np.cumsum(upper)))
    lower_before = np.concatenate(([0], np.cumsum(lower)))
    uppers = upper_before[ends] - upper_before[starts]
    lowers = lower_before[ends] - lower_before[starts]
    begins_upper = upper[np.minimum(starts, len(points) - 1)]
    classes = np.where(
        uppers == 0,
        0,
        np.where(lowers == 0, 2, np.where((uppers == 1) & begins_upper, 1, 3)),
    )
    return classes.astype(np.uint8)
