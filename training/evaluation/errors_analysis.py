"""Error analysis of a head on a corpus split: counts by label, length, frequency and score.

Recall by how often a mention occurs in the training split follows Tu and Lignos (2021, "TMR:
Evaluating NER Recall on Tough Mentions", arXiv:2103.12312): recall on frequent training mentions
says little about recall on new ones.
"""

from collections import Counter
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from schemas.records import Span
from schemas.tasks import Task
from training.corpora.spans import sentence_text, spans_of
from training.corpora.tsv import Sentence
from training.evaluation.errors import ERRORS, Comparison, Edge, Outcome, compare_spans

LENGTHS = ("1 word", "2 words", "3 words", "4 words", "5 words or more")
FREQUENCIES = ("never", "once", "2 to 5 times", "6 to 20 times", "more than 20 times")
UNSEEN = ("new, but all its words are known", "new, with a word that is new too")
SCORES = ("below 0.5", "0.5 to 0.7", "0.7 to 0.9", "0.9 to 0.95", "0.95 to 0.99", "0.99 and above")
_FREQUENCY_BOUNDS = (0, 1, 5, 20)
_SCORE_BOUNDS = (0.5, 0.7, 0.9, 0.95, 0.99)

_AT_LEAST = 6
"""The number of texts that are listed even if each occurs once."""

_Name = TypeVar("_Name", bound=Hashable)


@dataclass(frozen=True, slots=True)
class TrainingMentions:
    """The mentions of a training split: the frequency of each text, and the words of all.

    Texts and words are case-folded; labels are ignored.
    """

    counts: Mapping[str, int]
    words: frozenset[str]


@dataclass(frozen=True, slots=True)
class Tally:
    """The outcomes of a group of mentions, counted for gold and for predicted ones."""

    name: str
    gold: Mapping[Outcome, int]
    found: Mapping[Outcome, int]

    @property
    def gold_total(self) -> int:
        """The number of gold mentions."""
        return sum(self.gold.values())

    @property
    def found_total(self) -> int:
        """The number of predicted mentions."""
        return sum(self.found.values())

    @property
    def recall(self) -> float | None:
        """The strict recall; None if there are no gold mentions."""
        return self.gold.get(Outcome.CORRECT, 0) / self.gold_total if self.gold_total else None

    @property
    def precision(self) -> float | None:
        """The strict precision; None if there are no predicted mentions."""
        return self.found.get(Outcome.CORRECT, 0) / self.found_total if self.found_total else None


@dataclass(frozen=True, slots=True)
class TextCount:
    """A mention's text (in its most frequent spelling) that was missed or spurious `count` times.

    `gold` is the text's number of gold mentions in the split, `in_training` that in the training
    split (None if there is none).
    """

    text: str
    count: int
    gold: int
    in_training: int | None


@dataclass(frozen=True, slots=True)
class EdgeCount:
    """A text that was omitted or added `count` times at one edge of a mention."""

    side: str
    edge: Edge
    text: str
    count: int


@dataclass(frozen=True, slots=True)
class MarkedSentence:
    """A sentence, its first line in the corpus file, and the comparisons of its mentions."""

    line: int
    text: str
    comparisons: tuple[Comparison, ...]

    @property
    def gold(self) -> int:
        """The number of gold mentions."""
        return sum(one.gold is not None for one in self.comparisons)

    @property
    def errors(self) -> int:
        """The number of errors."""
        return sum(one.outcome != Outcome.CORRECT for one in self.comparisons)

    @property
    def badness(self) -> float:
        """Squared errors per gold mention, the sort key of the worst sentences."""
        return self.errors**2 / max(1, self.gold)


@dataclass(frozen=True, slots=True)
class HeadErrors:
    """The errors of one head on one split.

    `by_frequency` and `unseen` are empty without a training split, `by_score` without scores.
    `edges` counts the comparisons with a wrong boundary by (left, right); `confusions` those with a
    wrong label by (gold, found) label. `touching` are misses and spurious mentions that overlap a
    mention of the other side. `examples` are a few of the sentences with each error.
    """

    task: Task
    sentences: int
    overall: Tally
    by_label: tuple[Tally, ...]
    by_length: tuple[Tally, ...]
    by_frequency: tuple[Tally, ...]
    unseen: tuple[Tally, ...]
    by_score: tuple[Tally, ...]
    edges: Mapping[tuple[Edge, Edge], int]
    edge_texts: tuple[EdgeCount, ...]
    confusions: Mapping[tuple[str, str], int]
    touching: Mapping[Outcome, int]
    missed: tuple[TextCount, ...]
    spurious: tuple[TextCount, ...]
    worst: tuple[MarkedSentence, ...]
    examples: Mapping[Outcome, tuple[MarkedSentence, ...]]

    @property
    def counts(self) -> Mapping[Outcome, int]:
        """The number of comparisons by outcome."""
        return {
            outcome: max(self.overall.gold.get(outcome, 0), self.overall.found.get(outcome, 0))
            for outcome in Outcome
        }


def training_mentions(sentences: Iterable[Sentence]) -> TrainingMentions:
    """Count the mentions of a training split."""
    counts: Counter[str] = Counter()
    for sentence in sentences:
        text, _ = sentence_text(sentence.words)
        counts.update(_key(text, span) for span in spans_of(sentence))
    return TrainingMentions(counts, frozenset(word for text in counts for word in text.split()))


def analyse_errors(
    task: Task,
    sentences: Sequence[Sentence],
    found: Sequence[Collection[Span]],
    *,
    training: TrainingMentions | None = None,
    scores: Sequence[Mapping[Span, float]] | None = None,
    most: int = 20,
    examples: int = 4,
) -> HeadErrors:
    """Compare the mentions that the head of `task` predicts in `sentences` with the gold mentions.

    `scores` holds the probabilities of each sentence's predicted spans. At most `most` texts and
    sentences are listed, and `examples` sentences for each class of error.

    :raises ValueError: if the numbers of sentences differ.
    """
    marked = [
        MarkedSentence(sentence.line, text, compare_spans(spans_of(sentence), spans))
        for sentence, spans in zip(sentences, found, strict=True)
        for text in (" ".join(sentence.words),)
    ]
    sides = _Sides(marked, scores)
    compared = [(one.text, comparison) for one in marked for comparison in one.comparisons]
    return HeadErrors(
        task=task,
        sentences=len(sentences),
        overall=sides.tally(("all",), lambda _: "all")[0],
        by_label=sides.tally(task.label_names, lambda side: side.span.label),
        by_length=sides.tally(LENGTHS, lambda side: LENGTHS[min(_words(side), 5) - 1]),
        by_frequency=() if training is None else sides.tally(FREQUENCIES, _frequency_of(training)),
        unseen=() if training is None else sides.tally(UNSEEN, _novelty_of(training)),
        by_score=sides.tally(SCORES, _score_band) if scores is not None else (),
        edges=Counter(
            (one.left, one.right)
            for _, one in compared
            if one.outcome in (Outcome.BOUNDARY, Outcome.BOUNDARY_AND_TYPE)
        ),
        edge_texts=_edge_texts(compared, most),
        confusions=Counter(
            (one.gold.label, one.found.label)
            for _, one in compared
            if one.gold and one.found and one.gold.label != one.found.label
        ),
        touching=Counter(one.outcome for _, one in compared if one.touches),
        missed=_frequent(compared, Outcome.MISS, training, most),
        spurious=_frequent(compared, Outcome.SPURIOUS, training, most),
        worst=tuple(
            sorted(
                (one for one in marked if one.errors),
                key=lambda one: (-one.badness, -one.errors, one.line),
            )[:most]
        ),
        examples={error: _examples(marked, error, examples) for error in ERRORS},
    )


@dataclass(frozen=True, slots=True)
class _Side:
    """A gold or a predicted mention."""

    is_gold: bool
    span: Span
    key: str
    outcome: Outcome
    score: float | None


class _Sides:
    """All gold and all predicted mentions."""

    def __init__(
        self, marked: Sequence[MarkedSentence], scores: Sequence[Mapping[Span, float]] | None
    ) -> None:
        self._sides = [
            _Side(
                is_gold,
                span,
                _key(sentence.text, span),
                one.outcome,
                None if is_gold or scores is None else scores[index].get(span),
            )
            for index, sentence in enumerate(marked)
            for one in sentence.comparisons
            for is_gold, span in ((True, one.gold), (False, one.found))
            if span is not None
        ]

    def tally(
        self, names: Sequence[str], name_of: Callable[[_Side], str | None]
    ) -> tuple[Tally, ...]:
        """Count the outcomes of the mentions, grouped by `name_of`."""
        counts = {name: (Counter[Outcome](), Counter[Outcome]()) for name in names}
        for side in self._sides:
            name = name_of(side)
            if name is not None:
                counts[name][0 if side.is_gold else 1][side.outcome] += 1
        return tuple(Tally(name, *pair) for name, pair in counts.items())


def _key(text: str, span: Span) -> str:
    return text[span.start : span.end].casefold()


def _words(side: _Side) -> int:
    return max(1, len(side.key.split()))


def _frequency_of(training: TrainingMentions) -> Callable[[_Side], str]:
    def name(side: _Side) -> str:
        times = training.counts.get(side.key, 0)
        return FREQUENCIES[sum(times > bound for bound in _FREQUENCY_BOUNDS)]

    return name


def _novelty_of(training: TrainingMentions) -> Callable[[_Side], str | None]:
    def name(side: _Side) -> str | None:
        if side.key in training.counts:
            return None
        return UNSEEN[0] if training.words.issuperset(side.key.split()) else UNSEEN[1]

    return name


def _score_band(side: _Side) -> str | None:
    if side.score is None:
        return None
    return SCORES[sum(side.score >= bound for bound in _SCORE_BOUNDS)]


def _edge_texts(compared: Iterable[tuple[str, Comparison]], most: int) -> tuple[EdgeCount, ...]:
    counts: Counter[tuple[str, Edge, str]] = Counter()
    for text, one in compared:
        if one.gold is None or one.found is None:
            continue
        for side, edge, places in (
            ("left", one.left, (one.gold.start, one.found.start)),
            ("right", one.right, (one.gold.end, one.found.end)),
        ):
            if edge != Edge.EXACT:
                counts[side, edge, text[min(places) : max(places)].strip().casefold()] += 1
    return tuple(
        EdgeCount(side, edge, text, count)
        for (side, edge, text), count in _ranked(counts)
        if text and count > 1
    )[:most]


def _frequent(
    compared: Sequence[tuple[str, Comparison]],
    outcome: Outcome,
    training: TrainingMentions | None,
    most: int,
) -> tuple[TextCount, ...]:
    counts: Counter[str] = Counter()
    spellings: dict[str, Counter[str]] = {}
    gold: Counter[str] = Counter()
    for text, one in compared:
        if one.gold is not None:
            gold[_key(text, one.gold)] += 1
        if one.outcome == outcome:
            span = one.gold or one.found
            if span is None:  # no comparison is empty
                continue
            key = _key(text, span)
            counts[key] += 1
            spellings.setdefault(key, Counter())[text[span.start : span.end]] += 1
    return tuple(
        TextCount(
            _ranked(spellings[key])[0][0],
            count,
            gold[key],
            None if training is None else training.counts.get(key, 0),
        )
        for rank, (key, count) in enumerate(_ranked(counts)[:most])
        if count > 1 or rank < _AT_LEAST
    )


def _ranked(counts: Mapping[_Name, int]) -> list[tuple[_Name, int]]:
    """Return the counts, largest first, at a tie in alphabetic order."""
    return sorted(counts.items(), key=lambda item: (-item[1], str(item[0])))


def _examples(
    marked: Sequence[MarkedSentence], error: Outcome, most: int
) -> tuple[MarkedSentence, ...]:
    """Return up to `most` sentences with `error`, evenly spread over the split."""
    having = [one for one in marked if any(other.outcome == error for other in one.comparisons)]
    step = max(1, len(having) // most) if most else 1
    return tuple(having[::step][:most])
