"""Three steps at once: in order, each part once, failures where they belong."""

import threading
from collections.abc import Callable
from itertools import pairwise

import pytest

from worker.overlapping import overlapped


@pytest.mark.parametrize("count", [0, 1, 2, 7])
def test_parts_come_in_order_one_ahead_and_one_behind(count: int) -> None:
    steps: list[str] = []
    helpers: set[int] = set()

    def prepare(part: int) -> int:
        helpers.add(threading.get_ident())
        return part * 10

    def launch(ready: int) -> int:
        steps.append(f"launch {ready}")
        return ready + 1

    def finish(launched: int) -> int:
        steps.append(f"finish {launched}")
        return launched

    found = list(overlapped(range(count), prepare, launch, finish))
    assert found == [10 * part + 1 for part in range(count)]
    assert threading.get_ident() not in helpers
    for part, after in pairwise(range(count)):
        launched = steps.index(f"launch {10 * after}")
        assert launched < steps.index(f"finish {10 * part + 1}"), "the device is never idle"


@pytest.mark.parametrize(("step", "before"), [("prepare", 1), ("launch", 1), ("finish", 2)])
def test_what_a_step_raises_is_raised_and_no_thread_is_left(step: str, before: int) -> None:
    def doing(name: str) -> Callable[[int], int]:
        def do(part: int) -> int:
            if name == step and part == 2:
                raise OSError(name)
            return part

        return do

    parts = overlapped(range(5), doing("prepare"), doing("launch"), doing("finish"))
    assert [next(parts) for _ in range(before)] == list(range(before))
    with pytest.raises(OSError, match=step):
        next(parts)
    assert not [x for x in threading.enumerate() if x.name.startswith("pubner-tokenise")]
