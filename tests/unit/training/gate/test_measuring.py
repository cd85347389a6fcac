from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest

from schemas.records import Annotation, Mention, Span
from schemas.tasks import TASKS, EntityType, Label, Task
from training.evaluation.predict import Reading
from training.gate.measuring import compare_on, measure_speed, speed_texts
from training.gate.sets import EvaluationSet

CDR = TASKS["bc5cdr"]
DISEASE_ONLY = Task("bc5cdr", (Label("Disease", EntityType.DISEASE),))


@dataclass
class Finder:
    """Finds the same spans in every text; adds its cost to a clock."""

    tasks: tuple[Task, ...]
    spans: Sequence[Span] = ()
    costs: list[float] = field(default_factory=list)
    clock: list[float] = field(default_factory=lambda: [0.0])
    read: list[int] = field(default_factory=list)

    def annotate(self, texts: Sequence[str]) -> list[Annotation]:
        self.read.append(len(texts))
        if self.costs:
            self.clock[0] += self.costs.pop(0)
        task = self.tasks[0]
        mentions = tuple(
            Mention(task.name, s.label, task.entity_type(s.label), s.start, s.end, 0.75, True, "x")
            for s in self.spans
        )
        return [Annotation(mentions) for _ in texts]


DRUG, ILL = Span(0, 4, "Chemical"), Span(10, 15, "Disease")
SET = EvaluationSet(
    "mine",
    "bc5cdr",
    "documents",
    ((DRUG, ILL), (ILL,)),
    tuple(Reading("text of a document", range(i, i + 1), (0,)) for i in range(2)),
)


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_both_are_scored_on_the_same_units() -> None:
    one = compare_on(SET, Finder((CDR,), [ILL]), Finder((CDR,), [DRUG, ILL]), rng())
    assert one.active is not None
    assert one.candidate is not None
    assert one.bootstrap is not None
    # The candidate finds 2 of 3, nothing wrongly; the active one 3 of 3 and one wrongly.
    assert one.candidate.f1 == pytest.approx(0.8)
    assert one.active.f1 == pytest.approx(6 / 7)
    assert one.bootstrap.difference == pytest.approx(0.8 - 6 / 7)
    assert one.candidate.ece == pytest.approx(0.25)
    assert (one.mentions, one.units, one.candidate.found) == (3, 2, 2)


def test_heads_with_other_labels_are_compared_on_what_both_have() -> None:
    one = compare_on(SET, Finder((DISEASE_ONLY,), [ILL]), Finder((CDR,), [DRUG, ILL]), rng())
    assert one.labels == ("Disease",)
    assert one.mentions == 2
    assert one.bootstrap is not None
    assert (one.bootstrap.first, one.bootstrap.second) == (1.0, 1.0)


def test_without_a_common_label_nothing_is_scored() -> None:
    other = Task("bc5cdr", (Label("Drug", EntityType.CHEMICAL),))
    one = compare_on(SET, Finder((other,)), Finder((DISEASE_ONLY,)), rng())
    assert (one.labels, one.active, one.candidate, one.bootstrap) == ((), None, None, None)


def test_a_new_head_is_scored_alone_and_a_lost_one_too() -> None:
    gene = Finder((TASKS["bc2gm"],))
    new = compare_on(SET, Finder((CDR,), [ILL]), gene, rng())
    assert new.candidate is not None
    assert (new.active, new.bootstrap) == (None, None)
    lost = compare_on(SET, gene, Finder((CDR,), [ILL]), rng())
    assert lost.active is not None
    assert (lost.candidate, lost.bootstrap) == (None, None)


def test_speed_is_the_median_of_the_rounds_ratios_after_a_warm_up() -> None:
    clock = [0.0]
    # The first of each is the warm-up; one round of the candidate's is an outlier.
    active = Finder((CDR,), costs=[9, 2, 2, 2], clock=clock)
    candidate = Finder((CDR,), costs=[9, 1, 50, 1], clock=clock)
    speed = measure_speed(
        candidate, active, ["ab", "cde"], what="texts", clock=lambda: clock[0], rounds=3
    )
    assert speed.ratio == 2.0
    assert (speed.active_seconds, speed.candidate_seconds) == (2, 1)
    assert (speed.texts, speed.characters, speed.rounds) == (2, 5, 3)
    assert active.read == candidate.read == [2, 2, 2, 2]


def test_the_batch_is_fixed_and_spread() -> None:
    texts = [str(number) for number in range(100)]
    assert speed_texts(texts, 4) == ["0", "25", "50", "75"]
    assert speed_texts(texts[:3], 4) == ["0", "1", "2"]
