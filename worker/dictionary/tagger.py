"""The dictionary tagger: rule-based token matching, loaded from a dictionary checkpoint.

A dictionary checkpoint is a folder with `dictionary.json` and, written last, `manifest.json` of
kind `dictionary`. The dictionary holds the rules of normalisation and, for each head and label, the
keys of mentions (`worker.dictionary.normalisation`) with the learned probability that a span with
this key is a mention, one for each letter case (`WAS` is a disease, `was` is not). A probability
of 0 means that it is never a mention: a learned stop-list.

Each head scans the text from left to right and selects at each pre-token the longest span that is
an entry; its mentions never overlap. The time is linear in the text: no span is longer than the
longest key.
"""

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from schemas.errors import CheckpointError, RecordError
from schemas.manifest import CheckpointManifest, DriftReference
from schemas.records import Annotation, Mention
from schemas.tasks import Task
from worker.checkpoint.files import read_bounded
from worker.checkpoint.folder import DICTIONARY, read_manifest
from worker.dictionary.normalisation import LETTER_CASES, Normaliser, Pretokens, Rules, letter_case
from worker.text.reading_table import reading_of

KIND: Final = "dictionary"
_MAX_DROPPED: Final = 3
"""The most consecutive pre-tokens without a form in a span (`'s` and a hyphen)."""
_PREFIX_LENGTH: Final = 5
"""The number of code points of a form that the prefix filter tests."""
_JOINING: Final = frozenset("-/‐‑‒–—−")
"""Characters that join the parts of one word."""

_Probability = Annotated[float, Field(ge=0.0, le=1.0, allow_inf_nan=False)]
_ByCase = tuple[_Probability, _Probability, _Probability, _Probability]
_Key = Annotated[str, Field(min_length=1, pattern=r"^[^\n]+$")]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class RulesFile(_Frozen):
    """The rules of normalisation in `dictionary.json`."""

    case: bool
    hyphens: bool
    plurals: bool
    greek: bool
    numbers: bool


class HeadFile(_Frozen):
    """One head in `dictionary.json`: its probabilities by label and key.

    `patterns` has keys with `#` for each number; `whole_words` excludes parts of hyphenated words.
    """

    whole_words: bool
    entries: dict[str, dict[_Key, _ByCase]]
    patterns: dict[str, dict[_Key, _ByCase]]


class DictionaryFile(_Frozen):
    """The content of `dictionary.json`."""

    format_version: Literal[1] = 1
    rules: RulesFile
    heads: dict[str, HeadFile]


class KeyIndex:
    """An index of keys that finds matching spans of a text: a trie stored as a sorted list."""

    def __init__(self, keys: Sequence[str], normaliser: Normaliser) -> None:
        self.keys = sorted(keys)
        self._normaliser = normaliser
        self._prefixes = frozenset(
            key[:n] for key in self.keys for n in range(1, _PREFIX_LENGTH + 1)
        )

    def may_begin(self, form: str) -> bool:
        """Whether some key may begin with `form`: a prefix filter that rejects nearly all words."""
        return form[:_PREFIX_LENGTH] in self._prefixes

    def matches_at(self, tokens: Pretokens, first: int) -> Iterator[tuple[int, int]]:
        """Yield (last, key number) of each matching span that begins at pre-token `first`.

        `last` is inclusive and increases. A span neither begins nor ends with a pre-token without
        a form.
        """
        keys, forms, extend = self.keys, tokens.forms, self._normaliser.extend
        key = forms[first]
        if not key:
            return
        last, number, dropped = first, 0, 0
        while True:
            number = bisect_left(keys, key, number)
            if number == len(keys) or not keys[number].startswith(key):
                return
            if len(keys[number]) == len(key):
                yield last, number
            last += 1
            while last < len(forms) and not forms[last] and dropped < _MAX_DROPPED:
                last, dropped = last + 1, dropped + 1
            if last == len(forms) or not forms[last]:
                return
            key, dropped = extend(key, forms[last]), 0


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """A match table: the label and probability by key number and letter case.

    A value of None is not a mention.
    """

    index: KeyIndex
    values: Sequence[Sequence[tuple[str, float] | None]]


@dataclass(frozen=True, slots=True, eq=False)
class Head:
    """One head, ready to match: its entries by key, and its entries by pattern."""

    task: Task
    entries: Table
    patterns: Table
    whole_words: bool

    def match(
        self, text: str, tokens: Pretokens, patterns: Pretokens
    ) -> Iterator[tuple[int, int, str, float]]:
        """Yield (start, end, label, score) of each mention: longest match, left to right.

        Offsets are code points into `text`, whose pre-tokens `tokens` are; `patterns` are the same
        with `#` for each number.
        """
        starts, ends = tokens.starts, tokens.ends
        entry_values, pattern_values = self.entries.values, self.patterns.values
        entry_index, pattern_index = self.entries.index, self.patterns.index
        first, count = 0, len(tokens)
        while first < count:
            found = {}
            if pattern_index.may_begin(patterns.forms[first]):
                for last, number in pattern_index.matches_at(patterns, first):
                    found[last] = pattern_values[number]
            if entry_index.may_begin(tokens.forms[first]):
                for last, number in entry_index.matches_at(tokens, first):
                    found[last] = entry_values[number]
            if not found:
                first += 1
                continue
            start, step = starts[first], 1
            for last in sorted(found, reverse=True):
                end = ends[last]
                value = found[last][letter_case(text[start:end])]
                if value is not None and not (self.whole_words and within_word(text, start, end)):
                    yield start, end, *value
                    step = last + 1 - first
                    break
            first += step


def within_word(text: str, start: int, end: int) -> bool:
    """Whether a hyphen or slash joins the span to more of the same word (`IL-2-dependent`)."""
    return (start > 1 and text[start - 1] in _JOINING and not text[start - 2].isspace()) or (
        end + 1 < len(text) and text[end] in _JOINING and not text[end + 1].isspace()
    )


class DictionaryTagger:
    """One dictionary checkpoint, loaded and immutable; safe to share between threads."""

    def __init__(
        self,
        checkpoint_id: str,
        normaliser: Normaliser,
        heads: Sequence[Head],
        reference: DriftReference | None = None,
    ) -> None:
        self.id = checkpoint_id
        self.reference = reference
        self.tasks = tuple(head.task for head in heads)
        self._normaliser = normaliser
        self._heads = tuple(heads)

    def read(self, texts: Sequence[str]) -> list[Annotation]:
        """Return each text's mentions, with its number of pre-tokens as `word_pieces`.

        Mentions come by head and position, before the overlap policy. No pre-token is unknown.

        :raises RecordError: if a text holds a lone surrogate.
        """
        return [self._read(text) for text in texts]

    def _read(self, text: str) -> Annotation:
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise RecordError(
                "the text holds a lone surrogate, which no UTF-8 output can store; "
                "fix the source's character encoding"
            ) from error
        tokens = self._normaliser.read(text)
        patterns = tokens.with_patterns()
        mentions = tuple(
            Mention(
                task=head.task.name,
                label=label,
                entity_type=head.task.entity_type(label),
                start=start,
                end=end,
                score=score,
                preferred=True,
                checkpoint_id=self.id,
            )
            for head in self._heads
            for start, end, label, score in head.match(text, tokens, patterns)
        )
        return Annotation(mentions, word_pieces=len(tokens))


def make_table(
    task: Task, known: Mapping[str, Mapping[str, Sequence[float]]], normaliser: Normaliser
) -> Table:
    """Build the match table of `known`, the probabilities by key of each label.

    If several labels have a key, each letter case gets the most probable label, the task's first
    if they are equal.
    """
    best: dict[str, list[tuple[str, float] | None]] = {}
    for label in task.label_names:
        for key, values in known.get(label, {}).items():
            cases = best.setdefault(key, [None] * LETTER_CASES)
            for number, value in enumerate(values):
                before = cases[number]
                if value > (before[1] if before is not None else 0.0):
                    cases[number] = label, value
    index = KeyIndex(list(best), normaliser)
    return Table(index, [tuple(best[key]) for key in index.keys])


def load_dictionary(path: Path, manifest: CheckpointManifest | None = None) -> DictionaryTagger:
    """Load the dictionary checkpoint in the folder `path` after verifying every file.

    :param manifest: the manifest, if it was read and its files were verified already

    :raises CheckpointError: if it is missing, altered, or contradicts its manifest.
    """
    manifest = manifest or read_manifest(path)
    if manifest.kind != KIND:
        raise CheckpointError(
            f"checkpoint {path} is of kind {manifest.kind!r}; a dictionary is of kind {KIND!r}"
        )
    if DICTIONARY not in manifest.files:
        raise CheckpointError(
            f"checkpoint {path} is of kind {KIND!r}, but its manifest lists no {DICTIONARY}; "
            "train or copy it again"
        )
    content = _read_file(path / DICTIONARY)
    _check(path, manifest, content)
    reading = None if manifest.reading is None else reading_of(manifest.reading)
    normaliser = Normaliser(Rules(**content.rules.model_dump()), reading)
    heads = [
        Head(
            task,
            make_table(task, content.heads[task.name].entries, normaliser),
            make_table(task, content.heads[task.name].patterns, normaliser),
            content.heads[task.name].whole_words,
        )
        for task in manifest.task_records()
    ]
    return DictionaryTagger(manifest.id, normaliser, heads, manifest.reference)


def _read_file(file: Path) -> DictionaryFile:
    try:
        return DictionaryFile.model_validate_json(read_bounded(file))
    except ValidationError as error:
        first = error.errors()[0]
        # A key may contain any character, even line breaks.
        where = " ".join(".".join(str(part) for part in first["loc"]).split()) or "the file"
        raise CheckpointError(
            f"{file} is not a valid dictionary: {where}: {first['msg']}; train or copy it again"
        ) from error


def _check(path: Path, manifest: CheckpointManifest, content: DictionaryFile) -> None:
    """Refuse a dictionary whose heads and labels are not those of its manifest."""
    expected = {task.name: sorted(label.name for label in task.labels) for task in manifest.tasks}
    for part in ("entries", "patterns"):
        found = {name: sorted(getattr(head, part)) for name, head in content.heads.items()}
        if expected == found:
            continue
        raise CheckpointError(
            f"checkpoint {path}: {DICTIONARY} has {part} of the heads and labels {found}, the "
            f"manifest says {expected}; they do not belong together"
        )
