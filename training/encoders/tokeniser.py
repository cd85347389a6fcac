"""The tokeniser of a pretrained encoder: loading it, and checking that it fits the encoder."""

import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from schemas.errors import TrainingError
from training.encoders.files import read_json
from worker.checkpoint.folder import TOKENISER
from worker.text.reading_table import NEWEST
from worker.text.tokenisation import WordPieceTokeniser, load_tokeniser

VOCABULARY = "vocab.txt"
TOKENISER_CONFIG = "tokenizer_config.json"
LOWER_CASE = "do_lower_case"

KNOWN_WORDS = 0.9
"""The minimum fraction of the words of a training text that a tokeniser must know."""

_OTHER_FILES = ("vocab.json", "spiece.model", "spm.model", "sentencepiece.bpe.model",
                "tokenizer.model")  # fmt: skip
_FEW_CAPITALS = 0.01
_PADDING = 128
"""Embedding tables are often padded to a multiple of rows, of up to this many."""

_SAMPLE = 200


def read_tokeniser(folder: Path) -> WordPieceTokeniser:
    """Return the tokeniser in the encoder's `folder`.

    A tokeniser made from `vocab.txt` alone lower-cases if no word piece has a capital letter,
    unless `tokenizer_config.json` sets it.

    :raises TrainingError: if there is none, or its lower-casing contradicts its vocabulary.
    :raises CheckpointError: if its file cannot be read.
    """
    if (folder / TOKENISER).is_file():
        tokeniser = load_tokeniser(folder / TOKENISER, NEWEST)
    else:
        tokeniser = _converted(folder)
    _check_case(folder, tokeniser)
    return tokeniser


def _converted(folder: Path) -> WordPieceTokeniser:
    """Convert older tokeniser files to a `tokenizer.json` with transformers."""
    has_vocabulary = (folder / VOCABULARY).is_file()
    if not has_vocabulary and not any((folder / name).is_file() for name in _OTHER_FILES):
        raise TrainingError(
            f"the encoder {folder} has no tokeniser, so every word would be unknown: expected "
            f"{TOKENISER} or {VOCABULARY}; copy that of the encoder it was made from"
        )
    from transformers import AutoTokenizer

    options = {LOWER_CASE: _lower_cases(folder)} if has_vocabulary else {}
    try:
        with tempfile.TemporaryDirectory() as scratch:
            made = AutoTokenizer.from_pretrained(
                str(folder), trust_remote_code=False, local_files_only=True, **options
            )
            made.save_pretrained(scratch)
            return load_tokeniser(Path(scratch) / TOKENISER, NEWEST)
    except Exception as error:  # the libraries raise many types of errors
        raise TrainingError(
            f"the tokeniser of the encoder {folder} cannot be read "
            f"({type(error).__name__}: {str(error).strip()[:200]}); give it a {TOKENISER}"
        ) from error


def _lower_cases(folder: Path) -> bool:
    """Whether the tokeniser of a `vocab.txt` lower-cases."""
    if (folder / TOKENISER_CONFIG).is_file():
        configured = read_json(folder / TOKENISER_CONFIG).get(LOWER_CASE)
        if isinstance(configured, bool):
            return configured
    try:
        pieces = (folder / VOCABULARY).read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise TrainingError(f"{folder / VOCABULARY} cannot be read: {error}") from error
    fraction = _capital_fraction(pieces)
    if 0 < fraction <= _FEW_CAPITALS:
        raise TrainingError(
            f"{folder / VOCABULARY} does not show whether text is lower-cased: {fraction:.1%} "
            f"of its word pieces have a capital letter; set it in {TOKENISER_CONFIG}: "
            f'{{"{LOWER_CASE}": true}}, or false'
        )
    return fraction == 0


def _is_plain(piece: str) -> bool:
    """Whether it is a word piece with letters, and not a special one."""
    return not piece.startswith(("[", "<")) and any(c.isalpha() for c in piece)


def _capital_fraction(pieces: Iterable[str]) -> float:
    plain = [piece for piece in pieces if _is_plain(piece)]
    return sum(piece != piece.lower() for piece in plain) / max(1, len(plain))


def _check_case(folder: Path, tokeniser: WordPieceTokeniser) -> None:
    """Check that the tokeniser's lower-casing matches the letter case of its vocabulary."""
    vocabulary = tokeniser.vocabulary()
    words = [piece for piece in vocabulary if piece.isascii() and piece.isalpha()]
    capitals = [piece for piece in words if piece != piece.lower()]
    fraction = _capital_fraction(vocabulary)
    if fraction > _FEW_CAPITALS and capitals:
        sample = capitals[:: max(1, len(capitals) // _SAMPLE)]
        read = tokeniser.encode(sample)
        if not any(
            vocabulary[word] in pieces.ids for word, pieces in zip(sample, read, strict=True)
        ):
            raise TrainingError(
                f"the tokeniser of the encoder {folder} lower-cases text, though {fraction:.0%} of "
                f"its word pieces have capital letters ({', '.join(sample[:3])}): it was made for "
                f'a cased one; set "{LOWER_CASE}" or "lowercase" to false in its files'
            )
    if fraction == 0 and words:
        sample = words[:: max(1, len(words) // _SAMPLE)]
        read = tokeniser.encode([word.upper() for word in sample])
        if all(tokeniser.unknown_id in pieces.ids for pieces in read):
            raise TrainingError(
                f"the tokeniser of the encoder {folder} keeps capital letters, which none of its "
                f'word pieces has: set "{LOWER_CASE}" or "lowercase" to true in its files'
            )


def check_fits(folder: Path, tokeniser: WordPieceTokeniser, rows: int) -> None:
    """Check that the tokeniser's ids fit an embedding table of `rows` rows.

    :raises TrainingError: if it has ids beyond the table, or so few that it belongs to another
        encoder.
    """
    largest = max(tokeniser.vocabulary().values(), default=-1) + 1
    if largest > rows:
        raise TrainingError(
            f"the encoder {folder}: its tokeniser has {largest:,} ids, its table of word pieces "
            f"{rows:,} rows; they are not of one encoder, copy its own tokeniser"
        )
    spare = rows - largest
    padded = spare < _PADDING and rows % 8 == 0
    if spare > max(1, rows // 100) and not padded:
        raise TrainingError(
            f"the encoder {folder}: its tokeniser has {largest:,} ids, its table of word pieces "
            f"{rows:,} rows, more than padding explains; they are not of one encoder, copy its own "
            "tokeniser"
        )


def check_known(
    name: str, unknown: int, words: int, tokeniser: WordPieceTokeniser, texts: Sequence[str]
) -> None:
    """Check that a tokeniser knows most of a text's words.

    :param name: the name of the text
    :param texts: its first passages, searched for examples
    :param unknown: how many of its `words` are unknown
    :raises TrainingError: if it knows fewer than nine of ten.
    """
    if unknown <= (1 - KNOWN_WORDS) * words:
        return
    examples: dict[str, None] = {}
    for text, pieces in zip(texts, tokeniser.encode(texts), strict=True):
        for number in (pieces.ids == tokeniser.unknown_id).nonzero()[0]:
            examples[text[pieces.starts[number] : pieces.ends[number]]] = None
    raise TrainingError(
        f"the encoder's tokeniser knows {1 - unknown / words:.0%} of the words of {name}, expected "
        f"{KNOWN_WORDS:.0%} or more; unknown are {', '.join(map(repr, list(examples)[:5]))}: take "
        "the tokeniser that the encoder was made with, or an encoder for this text"
    )
