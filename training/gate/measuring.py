"""Measurements of a candidate and the active checkpoint: scores on evaluation sets, and speed."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from schemas.records import Span
from schemas.tasks import Task
from training.evaluation.bootstrap import PairedBootstrap, paired_bootstrap, sentence_counts
from training.evaluation.calibration import calibration_error, outcomes_of
from training.evaluation.predict import Annotator, ScoredSpan, annotate_scored, assign_to_sentences
from training.evaluation.strict import strict_score
from training.gate.sets import EvaluationSet

SPEED_TEXTS = 48
SPEED_ROUNDS = 5


@dataclass(frozen=True, slots=True)
class SideScore:
    """The strict scores (0 to 1) of one head on a set; `found` counts predicted mentions."""

    precision: float
    recall: float
    f1: float
    ece: float
    found: int


@dataclass(frozen=True, slots=True)
class SetComparison:
    """The scores of both checkpoints on one set, restricted to their common `labels`.

    A side is None if that checkpoint lacks the head, both if no label is common; `bootstrap`
    (candidate against active) exists if both sides do. `mentions` counts the gold mentions of
    `labels`, `units` the set's sentences or documents.
    """

    name: str
    head: str
    unit: str
    units: int
    mentions: int
    labels: tuple[str, ...]
    active: SideScore | None
    candidate: SideScore | None
    bootstrap: PairedBootstrap | None


@dataclass(frozen=True, slots=True)
class SpeedComparison:
    """The speed of both checkpoints on the same batch of texts, in alternating rounds.

    Seconds are medians of the rounds, `ratio` the median of each round's ratio of the active
    checkpoint's seconds to the candidate's: above 1 the candidate is faster.
    """

    what: str
    texts: int
    characters: int
    rounds: int
    active_seconds: float
    candidate_seconds: float
    ratio: float


def compare_on(
    one: EvaluationSet,
    candidate: Annotator,
    active: Annotator | None,
    rng: np.random.Generator,
    progress: Callable[[int], None] = lambda _: None,
) -> SetComparison:
    """Score both checkpoints on a set, or the candidate alone if none is active."""
    ours = _head(candidate, one.head)
    theirs = None if active is None else _head(active, one.head)
    labels = tuple(
        label
        for label in (theirs or ours or Task(one.head, ())).label_names
        if ours is None or theirs is None or label in ours.label_names
    )
    gold = [[span for span in spans if span.label in labels] for spans in one.gold]
    found = {
        side: _found(tagger, one, labels, progress)
        for side, tagger, task in (("candidate", candidate, ours), ("active", active, theirs))
        if tagger is not None and task is not None and labels
    }
    sides = {side: _score(gold, spans, labels) for side, spans in found.items()}
    bootstrap = None
    if len(found) == 2:
        after, before = (
            sentence_counts(gold, [[span.span for span in spans] for spans in found[side]])
            for side in ("candidate", "active")
        )
        bootstrap = paired_bootstrap(after, before, rng)
    return SetComparison(
        name=one.name,
        head=one.head,
        unit=one.unit,
        units=len(gold),
        mentions=sum(len(set(spans)) for spans in gold),
        labels=labels,
        active=sides.get("active"),
        candidate=sides.get("candidate"),
        bootstrap=bootstrap,
    )


def _head(tagger: Annotator, name: str) -> Task | None:
    return next((task for task in tagger.tasks if task.name == name), None)


def _found(
    tagger: Annotator,
    one: EvaluationSet,
    labels: Sequence[str],
    progress: Callable[[int], None],
) -> list[list[ScoredSpan]]:
    texts = [reading.text for reading in one.readings]
    read = annotate_scored(tagger, texts, one.head, progress)
    return [
        [span for span in spans if span.span.label in labels]
        for spans in assign_to_sentences(one.readings, read, len(one.gold))
    ]


def _score(
    gold: Sequence[Sequence[Span]], found: Sequence[Sequence[ScoredSpan]], labels: Sequence[str]
) -> SideScore:
    strict = strict_score(gold, [[one.span for one in spans] for spans in found], labels).overall
    return SideScore(
        strict.precision,
        strict.recall,
        strict.f1,
        ece=calibration_error(outcomes_of(gold, found)),
        found=sum(map(len, found)),
    )


def measure_speed(
    candidate: Annotator,
    active: Annotator,
    texts: Sequence[str],
    *,
    what: str,
    clock: Callable[[], float],
    rounds: int = SPEED_ROUNDS,
) -> SpeedComparison:
    """Time both on `texts` after a warm-up; the order alternates between rounds.

    :param what: a description of the texts
    :param clock: returns seconds; only differences matter
    """
    sides = (active, candidate)
    for tagger in sides:
        tagger.annotate(texts)
    taken: list[tuple[float, float]] = []
    for number in range(rounds):
        seconds = [0.0, 0.0]
        for side in (0, 1) if number % 2 == 0 else (1, 0):
            begin = clock()
            sides[side].annotate(texts)
            seconds[side] = clock() - begin
        taken.append((seconds[0], seconds[1]))
    return SpeedComparison(
        what=what,
        texts=len(texts),
        characters=sum(map(len, texts)),
        rounds=rounds,
        active_seconds=statistics.median(before for before, _ in taken),
        candidate_seconds=statistics.median(after for _, after in taken),
        ratio=statistics.median(before / after for before, after in taken),
    )


def speed_texts(texts: Sequence[str], count: int = SPEED_TEXTS) -> list[str]:
    """Return up to `count` of `texts`, evenly spaced."""
    count = min(count, len(texts))
    return [texts[number * len(texts) // count] for number in range(count)]
