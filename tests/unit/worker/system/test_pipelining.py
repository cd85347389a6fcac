"""Helper threads beside a step: in order, each item once, failures where they belong."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import pytest

from worker.system.pipelining import WriteBehind, make_helper, overlapped, read_ahead


@pytest.fixture
def helper() -> Iterator[ThreadPoolExecutor]:
    made = make_helper("test")
    yield made
    made.shutdown()


class Source:
    """Numbers, and how many of them were made; with `fail`, an error in that one's place."""

    def __init__(self, count: int, fail: int | None = None) -> None:
        self.count = count
        self.fail = fail
        self.made = 0
        self.threads: set[int] = set()

    def items(self) -> Iterator[int]:
        for number in range(self.count):
            self.threads.add(threading.get_ident())
            if number == self.fail:
                raise OSError("gone")
            self.made += 1
            yield number


@pytest.mark.parametrize("count", [0, 1, 2, 7])
def test_items_come_in_order_and_from_another_thread(
    helper: ThreadPoolExecutor, count: int
) -> None:
    source = Source(count)
    assert list(read_ahead(source.items(), helper)) == list(range(count))
    assert threading.get_ident() not in source.threads


def test_one_item_is_made_ahead_and_no_more(helper: ThreadPoolExecutor) -> None:
    source = Source(9)
    reading = read_ahead(source.items(), helper)
    for number in range(4):
        assert next(reading) == number
        helper.submit(int).result()  # comes behind all that the helper was asked for
        assert source.made == number + 2


def test_an_error_comes_in_the_place_of_its_item(helper: ThreadPoolExecutor) -> None:
    reading = read_ahead(Source(9, fail=2).items(), helper)
    assert [next(reading), next(reading)] == [0, 1]
    with pytest.raises(OSError, match="gone"):
        next(reading)


def test_work_goes_on_behind_and_one_item_at_a_time(helper: ThreadPoolExecutor) -> None:
    begun, go_on = threading.Semaphore(0), threading.Semaphore(0)

    def work(item: int) -> int:
        begun.release()
        go_on.acquire()
        return 10 * item

    writing = WriteBehind(work, helper)
    assert writing.wait() is None
    assert writing.put(1) is None
    begun.acquire()  # the first is under way, and `put` has returned
    go_on.release()
    assert writing.put(2) == 10
    go_on.release()
    assert writing.wait() == 20
    assert writing.wait() is None


def test_failed_work_is_raised_once_by_what_comes_next(helper: ThreadPoolExecutor) -> None:
    writing: WriteBehind[int, int] = WriteBehind(lambda item: 1 // item, helper)
    assert writing.put(0) is None
    with pytest.raises(ZeroDivisionError):
        writing.put(1)
    assert writing.put(1) is None
    assert writing.wait() == 1
    writing.put(0)
    with pytest.raises(ZeroDivisionError):
        writing.wait()


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
    assert (threading.get_ident() in helpers) == (count == 1), "one part alone needs no helper"
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
