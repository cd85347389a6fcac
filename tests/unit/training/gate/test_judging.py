from dataclasses import replace

import pytest

from schemas.tasks import TASKS, EntityType, Label, Task
from training.evaluation.bootstrap import PairedBootstrap
from training.gate.canary import CanaryReport, TypeChange
from training.gate.judging import (
    LEAST_CALIBRATED,
    LEAST_MENTIONS,
    HeadChanges,
    Measured,
    head_changes,
    judge,
    notes_of,
)
from training.gate.limits import Limits
from training.gate.measuring import SetComparison, SideScore, SpeedComparison
from training.gate.sample import CanaryCitation, CanarySample

LIMITS = Limits(
    max_f1_drop=0.5,
    max_ece_rise=0.02,
    min_speed=0.8,
    max_changed_share=0.5,
    max_changed_mentions=0.25,
)


def a_set(*, drop: float = 0.0, rise: float = 0.0, found: int = 1000) -> SetComparison:
    """A set on which F1 drops by `drop` points and the calibration error rises by `rise`."""
    difference = -drop / 100
    return SetComparison(
        name="bc2gm, devel",
        head="bc2gm",
        unit="sentences",
        units=100,
        mentions=200,
        labels=("GENE",),
        active=SideScore(0.8, 0.8, 0.8, ece=0.01, found=found),
        candidate=SideScore(0.8, 0.8, 0.8 + difference, ece=0.01 + rise, found=found),
        bootstrap=PairedBootstrap(
            0.8 + difference, 0.8, difference, difference - 0.01, difference + 0.01, 0.04, 10_000
        ),
    )


def a_canary(*, changed: int = 0, altered: int = 0, mentions: int = 100) -> CanaryReport:
    """A canary of twenty citations in which only diseases are found."""
    citations = tuple(CanaryCitation(number, "a.jsonl", "text") for number in range(20))
    kind = TypeChange(EntityType.DISEASE, 20, changed, mentions, mentions, mentions, 0, 0, altered)
    return CanaryReport(
        CanarySample(citations, ("a.jsonl",)), True, changed, mentions, altered, (kind,), ()
    )


def broken(measured: Measured, limits: Limits = LIMITS) -> list[str]:
    return [breach.option for breach in judge(measured, limits)]


def test_what_is_just_at_each_limit_passes() -> None:
    measured = Measured(
        sets=(a_set(drop=0.5, rise=0.02),),
        speed=SpeedComparison("texts", 10, 1000, 5, 1.0, 1.25, 0.8),
        canary=a_canary(changed=10, altered=25),
    )
    assert broken(measured) == []


@pytest.mark.parametrize(
    ("measured", "option"),
    [
        (Measured(sets=(a_set(drop=0.51),)), "--max-f1-drop"),
        (Measured(sets=(a_set(rise=0.021),)), "--max-ece-rise"),
        (
            Measured(sets=(a_set(),), speed=SpeedComparison("texts", 10, 1000, 5, 1.0, 1.26, 0.79)),
            "--min-speed",
        ),
        (Measured(sets=(a_set(),), canary=a_canary(changed=11)), "--max-changed-share"),
        (
            Measured(sets=(a_set(),), canary=a_canary(changed=10, altered=26)),
            "--max-changed-mentions",
        ),
        (
            Measured(sets=(a_set(),), heads=HeadChanges(lost=("jnlpba: RNA",))),
            "--allow-lost-heads",
        ),
        (Measured(), "--force"),
        (Measured(active_problem="weights are altered", canary=a_canary()), "--force"),
        (Measured(canary=a_canary()), "--canary-only"),
        (Measured(sets=(replace(a_set(), mentions=0),), canary=a_canary()), "--canary-only"),
        (Measured(candidate_problem="its scores are no numbers", sets=(a_set(drop=9),)), ""),
        (Measured(candidate_problem="its scores are no numbers", first=True), ""),
    ],
)
def test_what_is_beyond_one_limit_is_refused_by_that_one(measured: Measured, option: str) -> None:
    assert broken(measured) == [option]


def test_the_breach_tells_figure_limit_interval_and_p() -> None:
    (breach,) = judge(Measured(sets=(a_set(drop=1.2),)), LIMITS)
    assert breach.figure == pytest.approx(1.2)
    assert breach.limit == 0.5
    assert breach.subject == "bc2gm (bc2gm, devel)"
    assert breach.words == (
        "strict F1 falls by 1.20 points (limit 0.5; 95 % interval -2.20 to -0.20, p 0.04)"
    )


def test_a_gain_is_no_drop_however_large() -> None:
    assert broken(Measured(sets=(a_set(drop=-30, rise=-0.5),))) == []


def test_calibration_is_not_judged_by_few_mentions() -> None:
    few = Measured(sets=(a_set(rise=0.5, found=LEAST_CALIBRATED - 1),))
    assert broken(few) == []
    assert any("calibration was not judged" in note for note in notes_of(few))
    assert broken(Measured(sets=(a_set(rise=0.5, found=LEAST_CALIBRATED),))) == ["--max-ece-rise"]


def test_the_share_of_mentions_is_not_judged_by_few_of_them() -> None:
    few, many = (
        Measured(sets=(a_set(),), canary=a_canary(altered=count, mentions=count))
        for count in (LEAST_MENTIONS - 1, LEAST_MENTIONS)
    )
    assert broken(few) == []
    assert any("fewer than 50 mentions of Disease" in note for note in notes_of(few))
    assert broken(many) == ["--max-changed-mentions"]
    assert not any("fewer than 50 mentions" in note for note in notes_of(many))


def test_lost_heads_pass_where_they_are_allowed() -> None:
    measured = Measured(sets=(a_set(),), heads=HeadChanges(lost=("jnlpba",)))
    assert broken(measured, replace(LIMITS, allow_lost_heads=True)) == []


def test_a_canary_in_which_nothing_is_found_is_nothing_to_judge_by() -> None:
    assert broken(Measured(canary=a_canary(mentions=0))) == ["--force"]


def test_a_canary_alone_is_enough_where_that_is_said() -> None:
    alone = replace(LIMITS, canary_only=True)
    assert broken(Measured(canary=a_canary()), alone) == []
    assert broken(Measured(canary=a_canary(mentions=0)), alone) == ["--force"]
    assert broken(Measured(), alone) == ["--force"]


def test_common_heads_that_no_set_scores_are_named() -> None:
    notes = notes_of(Measured(sets=(a_set(),), common=("bc2gm", "jnlpba")))
    assert [note for note in notes if "on any evaluation set" in note] == [
        "the head 'jnlpba' was not scored on any evaluation set: whether it is worse is unknown"
    ]


def test_a_small_canary_is_told() -> None:
    assert any("has 20 citations" in note for note in notes_of(Measured(canary=a_canary())))


def test_a_set_that_one_side_alone_reads_is_nothing_to_judge_by() -> None:
    alone = replace(a_set(), active=None, bootstrap=None)
    assert broken(Measured(sets=(alone,))) == ["--force"]


def test_a_first_promotion_passes_and_says_what_was_not_looked_at() -> None:
    first = Measured(first=True)
    assert judge(first, LIMITS) == ()
    notes = " ".join(notes_of(first))
    assert "nothing to compare with" in notes
    assert "no head was scored" in notes
    assert "the changes in recent citations are unknown" in notes


def test_heads_and_labels_that_come_and_go() -> None:
    fewer = Task("bc5cdr", (Label("Disease", EntityType.DISEASE),))
    changes = head_changes([TASKS["bc5cdr"], TASKS["bc2gm"]], [fewer, TASKS["jnlpba"]])
    assert changes == HeadChanges(lost=("bc5cdr: Chemical", "bc2gm"), gained=("jnlpba",))


def test_a_label_that_means_another_entity_type_is_another_label() -> None:
    other = Task("bc2gm", (Label("GENE", EntityType.PROTEIN),))
    changes = head_changes([TASKS["bc2gm"]], [other])
    assert changes == HeadChanges(lost=("bc2gm: GENE",), gained=("bc2gm: GENE",))
