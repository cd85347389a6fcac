"""Groups of items: all of them, in order, no more at a time than asked."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.system.batching import in_groups


@given(items=st.lists(st.integers()), size=st.integers(1, 9))
def test_all_items_come_in_order_and_only_the_last_group_is_small(
    items: list[int], size: int
) -> None:
    groups = list(in_groups(items, size))

    assert [item for group in groups for item in group] == items
    assert all(len(group) == size for group in groups[:-1])
    assert all(groups)


def test_no_more_is_taken_than_the_next_group_needs() -> None:
    taken: list[int] = []

    def source() -> Iterator[int]:
        for number in range(10):
            taken.append(number)
            yield number

    groups = in_groups(source(), 3)

    assert taken == []
    assert next(groups) == [0, 1, 2]
    assert taken == [0, 1, 2]


@pytest.mark.parametrize("size", [0, -1])
def test_a_group_of_nothing_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match="at least 1 item"):
        next(in_groups([1], size))
