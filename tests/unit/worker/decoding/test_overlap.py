"""Which mentions the overlap policy prefers."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from schemas.records import Mention
from schemas.tasks import EntityType
from worker.decoding.overlap import mark_preferred


def mention(
    start: int, end: int, score: float, kind: EntityType = EntityType.DISEASE, task: str = "a"
) -> Mention:
    return Mention(task, str(kind), kind, start, end, score, True, "id")


def test_the_more_probable_of_two_overlapping_ones_is_preferred() -> None:
    marked = mark_preferred([mention(0, 5, 0.7), mention(3, 9, 0.9, task="b"), mention(9, 12, 0.1)])
    assert [m.preferred for m in marked] == [False, True, True]


def test_of_equally_probable_ones_the_longer_then_the_earlier_wins() -> None:
    marked = mark_preferred([mention(0, 5, 0.9), mention(0, 7, 0.9, task="b")])
    assert [m.preferred for m in marked] == [False, True]
    marked = mark_preferred([mention(2, 6, 0.9), mention(0, 4, 0.9, task="b")])
    assert [m.preferred for m in marked] == [False, True]


def test_other_entity_types_never_compete() -> None:
    marked = mark_preferred([mention(0, 5, 0.7), mention(0, 5, 0.9, EntityType.CHEMICAL)])
    assert [m.preferred for m in marked] == [True, True]


mentions = st.lists(
    st.builds(
        lambda start, length, score, kind, task: mention(start, start + length, score, kind, task),
        st.integers(0, 40),
        st.integers(1, 8),
        st.sampled_from([0.2, 0.5, 0.9]),
        st.sampled_from([EntityType.DISEASE, EntityType.GENE]),
        st.sampled_from(["a", "b"]),
    ),
    max_size=25,
)


@given(mentions)
def test_preferred_ones_never_overlap_and_every_other_one_clashes_with_a_better(
    found: list[Mention],
) -> None:
    marked = mark_preferred(found)
    chosen = [m for m in marked if m.preferred]
    for number, left in enumerate(chosen):
        for right in chosen[number + 1 :]:
            assert (
                left.entity_type != right.entity_type
                or left.end <= right.start
                or right.end <= left.start
            )
    for rejected in (m for m in marked if not m.preferred):
        assert any(
            better.entity_type == rejected.entity_type
            and better.start < rejected.end
            and rejected.start < better.end
            and better.score >= rejected.score
            for better in chosen
        )
    assert [(m.start, m.end, m.task) for m in marked] == [(m.start, m.end, m.task) for m in found]


def greedy(found: list[Mention]) -> list[bool]:
    """Say of each mention whether it is preferred: take the best, then the best that fits."""
    order = sorted(
        range(len(found)),
        key=lambda n: (
            -found[n].score,
            found[n].start - found[n].end,
            found[n].start,
            found[n].task,
            found[n].label,
        ),
    )
    taken: list[int] = []
    for number in order:
        one = found[number]
        if not any(
            other.entity_type == one.entity_type and other.start < one.end and one.start < other.end
            for other in (found[n] for n in taken)
        ):
            taken.append(number)
    return [number in taken for number in range(len(found))]


@given(mentions)
def test_the_same_as_taking_the_best_of_all_again_and_again(found: list[Mention]) -> None:
    assert [m.preferred for m in mark_preferred(found)] == greedy(found)


@given(mentions)
def test_what_was_marked_before_makes_no_difference(found: list[Mention]) -> None:
    marked = mark_preferred(found)
    assert mark_preferred([replace(m, preferred=not m.preferred) for m in marked]) == marked
