"""The stop-list of a dictionary: entries that are never matched, chosen on devel."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Final

from schemas.tasks import Task
from training.dictionary.learning import Entries, Entry, Learned, ReadSentence
from worker.dictionary.normalisation import LETTER_CASES, Normaliser
from worker.dictionary.tagger import KeyIndex, within_word

_THRESHOLDS: Final = tuple(number / 20 for number in range(20))
_MIN_COUNTS: Final = (1, 2, 3)
_HAS_NUMBER: Final = re.compile(r"[\d#]")

Values = dict[str, dict[str, tuple[float, ...]]]
"""By label and key, the probabilities by letter case."""


@dataclass(frozen=True, slots=True)
class Choice:
    """The values chosen on devel, and their strict F1 there.

    `thresholds` holds the minimum probability of each label, `min_count` the minimum number of
    training mentions of an entry; with `whole_words` a mention may not be joined to the rest of a
    word by a hyphen or slash.
    """

    thresholds: Mapping[str, float]
    min_count: int
    whole_words: bool
    devel_f1: float


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A matched span of a sentence as a mention of one label; `last` is its last pre-token."""

    last: int
    span: tuple[int, int, str]
    probability: float
    count: int
    within: bool


_Candidates = Sequence[tuple[int, Sequence[_Candidate]]]
"""The candidates of one sentence by first pre-token, the longest first."""


def choose(
    sentences: Sequence[ReadSentence], task: Task, learned: Learned, normaliser: Normaliser
) -> Choice:
    """Choose the values with the best strict F1 on the devel `sentences`.

    First a grid search over one threshold for all labels, the minimum count and `whole_words`; then
    coordinate ascent over the labels' thresholds until none improves. Ties go to the lowest
    threshold and count, and to matching within words.
    """
    find = _Finder(task, learned, normaliser)
    candidates = [list(find.candidates(read)) for read in sentences]
    gold = [read.spans for read in sentences]
    wanted = sum(map(len, gold))

    def f1(thresholds: Mapping[str, float], min_count: int, whole_words: bool) -> float:
        found = right = 0
        for sentence, spans in zip(candidates, gold, strict=True):
            for span in _longest(sentence, thresholds, min_count, whole_words):
                found += 1
                right += span in spans
        return 2 * right / max(1, found + wanted)

    best = Choice({}, 0, whole_words=False, devel_f1=-1.0)
    for whole_words, min_count, threshold in product((False, True), _MIN_COUNTS, _THRESHOLDS):
        thresholds = dict.fromkeys(task.label_names, threshold)
        score = f1(thresholds, min_count, whole_words)
        if score > best.devel_f1:
            best = Choice(thresholds, min_count, whole_words, score)
    better = len(task.labels) > 1
    while better:
        better = False
        for label, threshold in product(task.label_names, _THRESHOLDS):
            thresholds = {**best.thresholds, label: threshold}
            score = f1(thresholds, best.min_count, best.whole_words)
            if score > best.devel_f1:
                best = Choice(thresholds, best.min_count, best.whole_words, score)
                better = True
    return best


class _Finder:
    """Finds every span that matches an entry or a pattern."""

    def __init__(self, task: Task, learned: Learned, normaliser: Normaliser) -> None:
        self._task = task
        self._parts = [
            (known, KeyIndex(sorted({key for keys in known.values() for key in keys}), normaliser))
            for known in (learned.patterns, learned.entries)
        ]

    def candidates(self, read: ReadSentence) -> Iterator[tuple[int, list[_Candidate]]]:
        """Yield the matched spans of a sentence by their first pre-token."""
        for first, start in enumerate(read.tokens.starts):
            found: dict[int, tuple[Entries, str]] = {}
            for (known, index), tokens in zip(
                self._parts, (read.patterns, read.tokens), strict=True
            ):
                for last, number in index.matches_at(tokens, first):
                    found[last] = known, index.keys[number]  # an exact key has precedence
            here = []
            for last in sorted(found, reverse=True):
                known, key = found[last]
                end = read.tokens.ends[last]
                case = read.letter_case((first, last))
                within = within_word(read.text, start, end)
                rivals = [
                    (label, known[label][key])
                    for label in self._task.label_names
                    if key in known[label]
                ]
                rivals.sort(key=lambda rival: -rival[1].probabilities[case])
                here += [
                    _Candidate(
                        last, (start, end, label), entry.probabilities[case], entry.count, within
                    )
                    for label, entry in rivals
                ]
            if here:
                yield first, here


def _longest(
    candidates: _Candidates, thresholds: Mapping[str, float], min_count: int, whole_words: bool
) -> Iterator[tuple[int, int, str]]:
    """Yield the spans that longest match selects with these values."""
    next_free = 0
    for first, found in candidates:
        if first < next_free:
            continue
        for one in found:
            if (
                one.probability >= thresholds[one.span[2]]
                and one.count >= min_count
                and one.probability > 0
                and not (whole_words and one.within)
            ):
                yield one.span
                next_free = one.last + 1
                break


def kept(task: Task, learned: Learned, choice: Choice) -> tuple[Values, Values]:
    """Return the entries and patterns to match, with probability 0 for each stopped letter case.

    Entries stopped in every letter case are omitted, unless a pattern would then match them.
    """
    patterns: Values = {
        label: {
            key: values
            for key, entry in sorted(learned.patterns.get(label, {}).items())
            if any(values := _bounded(entry, label, choice))
        }
        for label in task.label_names
    }
    return {
        label: {
            key: values
            for key, entry in sorted(learned.entries[label].items())
            if any(values := _bounded(entry, label, choice)) or _HAS_NUMBER.search(key)
        }
        for label in task.label_names
    }, patterns


def _bounded(entry: Entry, label: str, choice: Choice) -> tuple[float, ...]:
    if entry.count < choice.min_count:
        return (0.0,) * LETTER_CASES
    bound = choice.thresholds[label]
    return tuple(p if p >= bound else 0.0 for p in entry.probabilities)
