"""Learning of dictionary entries and their probabilities from training mentions.

**Entries.** Each mention of the training split gives an entry, the key of its text; one with
numbers gives a pattern too (`worker.dictionary.normalisation`).

**Probabilities.** Every occurrence of a key in the training text is counted. An occurrence that is
exactly a mention is positive for its label. One that overlaps a mention which longest match would
select first, and which occurs elsewhere too, is ignored: the dictionary would not match the key
there. Any other is negative. So occurrences within a mention that was seen only once are negative:
in new text that mention would be unknown, and the key would be matched instead.

Patterns are counted on unknown keys, for which they are used: patterns from one half of the
training sentences are counted in the other half, on texts whose key is not an entry of the first
half.

The estimate backs off twice. The prior of a new entry, by its length and letter case, is estimated
by cross-validation: entries of one half that were mentions once are looked up in the other half. It
has the weight of one occurrence in an entry's probability, which in turn has the weight of one in
the probability of a letter case of the entry (additive smoothing; Chen and Goodman 1999, "An
empirical study of smoothing techniques for language modeling").
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Final

from schemas.tasks import Task
from training.corpora.spans import sentence_text, spans_of
from training.corpora.tsv import Sentence
from worker.dictionary.normalisation import LETTER_CASES, Normaliser, Pretokens, letter_case
from worker.dictionary.tagger import KeyIndex

_PRIOR_WEIGHT: Final = 1.0
"""The weight of the prior, in occurrences."""

_LENGTHS: Final = (2, 4, 7, 12)
"""Bounds of the length classes of keys, in code points."""

TokenSpan = tuple[int, int]
"""A span of a sentence: its first and last pre-token."""

_Kind = tuple[str, int, int]
"""The key of a new entry's prior: label, length class, letter case."""


@dataclass(frozen=True, slots=True, eq=False)
class ReadSentence:
    """A sentence as the dictionary reads it.

    `patterns` are its pre-tokens with `#` for each number. `gold` holds the labels of the mentions
    by span of pre-tokens; a mention that splits a pre-token has none. `spans` holds all mentions by
    start and end in code points.
    """

    text: str
    tokens: Pretokens
    patterns: Pretokens
    gold: Mapping[TokenSpan, str]
    spans: frozenset[tuple[int, int, str]]

    def letter_case(self, span: TokenSpan) -> int:
        """Return the letter case of the span as written."""
        return letter_case(self.text[self.tokens.starts[span[0]] : self.tokens.ends[span[1]]])


@dataclass(slots=True, eq=False)
class _Counts:
    """Counts of an entry's occurrences by letter case, and of those as a mention by label."""

    seen: list[int] = field(default_factory=lambda: [0] * LETTER_CASES)
    mentions: dict[str, list[int]] = field(default_factory=dict)

    def add(self, case: int, label: str | None) -> None:
        """Count one occurrence; `label` is None if it is not a mention."""
        self.seen[case] += 1
        if label is not None:
            self.mentions.setdefault(label, [0] * LETTER_CASES)[case] += 1

    def of(self, label: str) -> list[int]:
        """Return the number of mentions with `label`, by letter case."""
        return self.mentions.get(label, [0] * LETTER_CASES)


@dataclass(frozen=True, slots=True)
class Entry:
    """The learned values of a key or pattern as a mention of one label.

    `probabilities` are by letter case; `count` is the number of its training mentions.
    """

    probabilities: tuple[float, ...]
    count: int


Entries = Mapping[str, Mapping[str, Entry]]
"""Learned entries by label and key."""


@dataclass(frozen=True, slots=True, eq=False)
class Learned:
    """The learned entries and patterns of one head."""

    entries: Entries
    patterns: Entries


def read_sentences(sentences: Sequence[Sentence], normaliser: Normaliser) -> list[ReadSentence]:
    """Split sentences into pre-tokens as the dictionary does."""
    return [_read(sentence, normaliser) for sentence in sentences]


def _read(sentence: Sentence, normaliser: Normaliser) -> ReadSentence:
    text = sentence_text(sentence.words)[0]
    tokens = normaliser.read(text)
    starts = {start: number for number, start in enumerate(tokens.starts)}
    ends = {end: number for number, end in enumerate(tokens.ends)}
    spans = spans_of(sentence)
    gold = {
        (starts[span.start], ends[span.end]): span.label
        for span in spans
        if span.start in starts and span.end in ends
    }
    return ReadSentence(
        text,
        tokens,
        tokens.with_patterns(),
        gold,
        frozenset((span.start, span.end, span.label) for span in spans),
    )


def learn(sentences: Sequence[ReadSentence], task: Task, normaliser: Normaliser) -> Learned:
    """Learn the entries and patterns of one head from its training sentences."""
    learner = _Learner(task, normaliser)
    return Learned(
        learner.entries(sentences), learner.patterns(sentences) if normaliser.rules.numbers else {}
    )


class _Learner:
    def __init__(self, task: Task, normaliser: Normaliser) -> None:
        self.labels = task.label_names
        self.normaliser = normaliser

    def entries(self, sentences: Sequence[ReadSentence]) -> Entries:
        mentions = self.mentions(sentences)
        # A mention that occurs only once is unknown when it is left out.
        known = {key for key, labels in mentions.items() if len(labels) > 1}
        counts = self.count(sentences, mentions, known)
        kinds: dict[str, _Counts] = {}
        for learned, tried in _halves(sentences):
            found = self.mentions(learned)
            once = {key for key, labels in found.items() if len(labels) == 1}
            for key, value in self.count(tried, found, set(found)).items():
                if key in once:
                    _add(kinds, key, value)
        return self._estimate(mentions, counts, self._expected(kinds))

    def patterns(self, sentences: Sequence[ReadSentence]) -> Entries:
        counts: dict[str, _Counts] = {}
        for learned, tried in _halves(sentences):
            known = self.mentions(learned)
            patterns = self.mentions(learned, patterns=True)
            for key, value in self.count(tried, patterns, set(known), patterns=True).items():
                _add(counts, key, value)
        mentions = self.mentions(sentences, patterns=True)
        return self._estimate(mentions, counts, self._expected(counts))

    def key(self, read: ReadSentence, span: TokenSpan) -> str:
        return self.normaliser.join(read.tokens.forms[span[0] : span[1] + 1])

    def mentions(
        self, sentences: Sequence[ReadSentence], *, patterns: bool = False
    ) -> dict[str, list[str]]:
        """Return the labels of all mentions of each key; with `patterns`, of each pattern."""
        out: dict[str, list[str]] = defaultdict(list)
        for read in sentences:
            forms = read.patterns.forms if patterns else read.tokens.forms
            for (first, last), label in read.gold.items():
                key = self.normaliser.join(forms[first : last + 1])
                # A span that starts or ends with a hyphen is never matched.
                if forms[first] and forms[last] and (not patterns or "#" in key):
                    out[key].append(label)
        return out

    def count(
        self,
        sentences: Sequence[ReadSentence],
        keys: Mapping[str, Sequence[str]],
        known: set[str],
        *,
        patterns: bool = False,
    ) -> dict[str, _Counts]:
        """Count every occurrence of `keys` in `sentences`.

        `known` are the keys that longest match can select. With `patterns`, the keys are patterns,
        and only spans count whose own key is not known.
        """
        index = KeyIndex(list(keys), self.normaliser)
        counts: dict[str, _Counts] = defaultdict(_Counts)
        for read in sentences:
            tokens = read.patterns if patterns else read.tokens
            taken = [span for span in read.gold if self.key(read, span) in known]
            for first in range(len(tokens)):
                for last, number in index.matches_at(tokens, first):
                    span = first, last
                    label = read.gold.get(span)
                    if label is None and any(_matched_before(other, span) for other in taken):
                        continue
                    if not (patterns and self.key(read, span) in known):
                        counts[index.keys[number]].add(read.letter_case(span), label)
        return counts

    def _expected(self, counts: Mapping[str, _Counts]) -> Callable[[_Kind], float]:
        """Return the fraction of occurrences of new entries that are mentions, by kind."""
        seen: Counter[_Kind] = Counter()
        right: Counter[_Kind] = Counter()
        totals, rights = Counter[str](), Counter[str]()
        for key, value in counts.items():
            for label, case in product(value.mentions or self.labels, range(LETTER_CASES)):
                kind = _kind(label, key, case)
                seen[kind] += value.seen[case]
                right[kind] += value.of(label)[case]
                totals[label] += value.seen[case]
                rights[label] += value.of(label)[case]

        def share(kind: _Kind) -> float:
            whole = (rights[kind[0]] + 1) / (totals[kind[0]] + 2)
            return (right[kind] + whole) / (seen[kind] + 1)

        return share

    def _estimate(
        self,
        mentions: Mapping[str, Sequence[str]],
        counts: Mapping[str, _Counts],
        expected: Callable[[_Kind], float],
    ) -> Entries:
        out: dict[str, dict[str, Entry]] = {label: {} for label in self.labels}
        for key in sorted(mentions):
            found = counts.get(key) or _Counts()
            for label, count in sorted(Counter(mentions[key]).items()):
                seen, inside = found.seen, found.of(label)
                usual = max(range(LETTER_CASES), key=inside.__getitem__)
                prior = expected(_kind(label, key, usual))
                whole = _smoothed(sum(inside), sum(seen), prior)
                out[label][key] = Entry(
                    tuple(
                        round(_smoothed(inside[case], seen[case], whole), 4)
                        for case in range(LETTER_CASES)
                    ),
                    count,
                )
        return out


def _smoothed(right: int, seen: int, prior: float) -> float:
    return (right + _PRIOR_WEIGHT * prior) / (seen + _PRIOR_WEIGHT)


def _kind(label: str, key: str, case: int) -> _Kind:
    return label, sum(len(key) > bound for bound in _LENGTHS), case


def _add(into: dict[str, _Counts], key: str, more: _Counts) -> None:
    counts = into.setdefault(key, _Counts())
    counts.seen = [a + b for a, b in zip(counts.seen, more.seen, strict=True)]
    for label, values in more.mentions.items():
        counts.mentions[label] = [a + b for a, b in zip(counts.of(label), values, strict=True)]


def _halves(
    sentences: Sequence[ReadSentence],
) -> tuple[tuple[Sequence[ReadSentence], Sequence[ReadSentence]], ...]:
    """Return two splits into training and held-out sentences: odd and even, and vice versa."""
    even, odd = sentences[0::2], sentences[1::2]
    return (even, odd), (odd, even)


def _matched_before(mention: TokenSpan, span: TokenSpan) -> bool:
    """Whether longest match, left to right, selects `mention` and so never matches `span`."""
    overlaps = mention[0] <= span[1] and span[0] <= mention[1]
    return overlaps and (mention[0], -mention[1]) < (span[0], -span[1])
