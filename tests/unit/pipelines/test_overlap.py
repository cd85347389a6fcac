"""The helper thread beside a step."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from pipelines.overlap import WriteBehind, make_helper, read_ahead


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
    assert writing.settle() is None
    assert writing.put(1) is None
    begun.acquire()  # the first is under way, and `put` has returned
    go_on.release()
    assert writing.put(2) == 10
    go_on.release()
    assert writing.settle() == 20
    assert writing.settle() is None


def test_failed_work_is_raised_once_by_what_comes_next(helper: ThreadPoolExecutor) -> None:
    writing: WriteBehind[int, int] = WriteBehind(lambda item: 1 // item, helper)
    assert writing.put(0) is None
    with pytest.raises(ZeroDivisionError):
        writing.put(1)
    assert writing.put(1) is None
    assert writing.settle() == 1
    writing.put(0)
    with pytest.raises(ZeroDivisionError):
        writing.settle()
