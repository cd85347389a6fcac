"""The pointer: what a rollback goes back to, and what its object may hold."""

import json
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import RegistryError
from tests.support.registries import moment
from worker.registry.pointer import Action, Change, Pointer, from_bytes, to_bytes

BACK = "back"
STEPS = st.lists(st.sampled_from(["a", "b", "c", "d", BACK]), max_size=25)


def change(pointer: Pointer, checkpoint_id: str, action: Action = "promote") -> Pointer:
    """Return the pointer behind one more change."""
    number = len(pointer.changes) + 1
    return pointer.with_change(
        Change(
            number=number,
            action=action,
            id=checkpoint_id,
            previous=pointer.active.id if pointer.active else None,
            who="ann",
            when=moment(number),
            why=f"reason {number}",
        )
    )


def follow(steps: Sequence[str]) -> Pointer:
    """Return the pointer behind promotions by id and rollbacks, as far as those are possible."""
    pointer = Pointer()
    for step in steps:
        if step != BACK:
            pointer = change(pointer, step)
            continue
        try:
            pointer = change(pointer, pointer.before(), "rollback")
        except RegistryError:
            continue
    return pointer


def active_ids(pointer: Pointer) -> list[str]:
    return [x.id for x in pointer.changes]


def test_rollbacks_go_back_further_and_never_forward() -> None:
    pointer = follow(["a", "b", "c", BACK])
    assert active_ids(pointer)[-1] == "b"
    pointer = follow(["a", "b", "c", BACK, BACK])
    assert active_ids(pointer)[-1] == "a"
    with pytest.raises(RegistryError, match="no checkpoint was active before this one"):
        pointer.before()
    pointer = follow(["a", "b", "c", BACK, BACK, "d"])
    assert pointer.before() == "a"


@pytest.mark.parametrize(
    ("steps", "before"),
    [
        (["a", "a", "b", "b"], "a"),
        (["a", "b", "a"], "b"),
        (["a", "b", "a", BACK], "a"),
        (["a", "b", BACK, "b"], "a"),
        (["a", "b", BACK, "a", "c"], "a"),
    ],
)
def test_what_was_active_before(steps: list[str], before: str) -> None:
    assert follow(steps).before() == before


@pytest.mark.parametrize("steps", [[], ["a"], ["a", "a"], ["a", "b", BACK]])
def test_where_nothing_was_active_before_it_says_so(steps: list[str]) -> None:
    with pytest.raises(RegistryError, match="nothing to roll back to; promote another"):
        follow(steps).before()


def test_a_rollback_of_several_at_once_undoes_all_of_them() -> None:
    pointer = change(follow(["a", "b", "c", "d"]), "b", "rollback")
    assert pointer.before() == "a"
    assert pointer.fallbacks() == ("b", "a", "d", "c")


def test_a_rollback_to_what_was_never_active_is_what_rollbacks_go_back_from() -> None:
    pointer = change(follow(["a", "b"]), "z", "rollback")
    assert pointer.before() == "b"
    assert pointer.fallbacks() == ("z", "b", "a")


@given(STEPS)
def test_previous_is_what_was_active(steps: list[str]) -> None:
    changes = follow(steps).changes
    assert [x.number for x in changes] == list(range(1, len(changes) + 1))
    assert [x.previous for x in changes] == [None, *(x.id for x in changes)][: len(changes)]


@given(STEPS)
def test_rolling_back_again_and_again_undoes_promotions_from_the_last_to_the_first(
    steps: list[str],
) -> None:
    undone: list[str] = []
    for step in steps:  # the model: a pile of promotions, of which a rollback takes the uppermost
        if step != BACK:
            undone += [step] if undone[-1:] != [step] else []
        elif len(undone) > 1:
            undone.pop()
    pointer = follow(steps)
    found = [pointer.active.id] if pointer.active else []
    for _ in undone[1:]:
        pointer = change(pointer, pointer.before(), "rollback")
        found.append(pointer.changes[-1].id)
    assert found == undone[::-1]
    with pytest.raises(RegistryError):
        pointer.before()


@given(STEPS)
def test_fallbacks_are_all_that_was_active_the_active_one_first(steps: list[str]) -> None:
    pointer = follow(steps)
    fallbacks = pointer.fallbacks()
    assert set(fallbacks) == set(active_ids(pointer))
    assert len(set(fallbacks)) == len(fallbacks)
    assert fallbacks[:1] == tuple(active_ids(pointer)[-1:])


def test_fallbacks_come_to_what_was_rolled_back_last() -> None:
    assert follow(["a", "b", "c"]).fallbacks() == ("c", "b", "a")
    assert follow(["a", "b", "c", BACK]).fallbacks() == ("b", "a", "c")


@given(STEPS)
def test_it_is_read_as_it_was_written(steps: list[str]) -> None:
    changes = follow(steps).changes
    assert from_bytes(to_bytes(changes), "r/active.json") == changes


@pytest.mark.parametrize(
    ("alter", "part"),
    [
        (
            lambda x: x["changes"].pop(0),
            "change 1 is numbered 2 and follows a, expected 1 and None",
        ),
        (lambda x: x["changes"][1].update(previous="c"), "change 2 is numbered 2 and follows c"),
        (lambda x: x.update(format_version=2), "format_version"),
        (lambda x: x["changes"][0].update(when="2026-03-01T12:00:00"), "timezone"),
        (lambda x: x["changes"][0].pop("why"), r"changes\.0\.why"),
        (lambda x: x.clear() or x.update(other=1), "other"),
    ],
)
def test_a_damaged_one_says_where(alter: object, part: str) -> None:
    content = json.loads(to_bytes(follow(["a", "b"]).changes))
    assert callable(alter)
    alter(content)
    with pytest.raises(
        RegistryError, match=rf"^r/active.json is damaged: .*{part}.*restore a copy"
    ):
        from_bytes(json.dumps(content).encode(), "r/active.json")


def test_half_of_one_is_damaged() -> None:
    data = to_bytes(follow(["a"]).changes)
    with pytest.raises(RegistryError, match=r"r/active.json is damaged"):
        from_bytes(data[: len(data) // 2], "r/active.json")
