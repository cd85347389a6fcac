"""Helper threads beside a step: none of preparing, computing and finishing waits for another.

The order of things stays what it was: a helper works on one item at a time, and only what comes out
of it in order is passed on.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")
Part = TypeVar("Part")
Ready = TypeVar("Ready")
Launched = TypeVar("Launched")
Done = TypeVar("Done")


class _End:
    """Stands behind the last item."""


_END: Final = _End()


def make_helper(name: str) -> ThreadPoolExecutor:
    """Return the helper: one thread, begun when it is first needed; shut it down in the end."""
    return ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)


def read_ahead(items: Iterator[T], helper: ThreadPoolExecutor) -> Iterator[T]:
    """Yield `items`, while the helper already makes the next one.

    What the making of an item raises is raised when its turn comes.
    """
    coming = helper.submit(_next, items)
    while not isinstance(item := coming.result(), _End):
        coming = helper.submit(_next, items)
        yield item


def _next(items: Iterator[T]) -> T | _End:
    return next(items, _END)


class WriteBehind(Generic[T, R]):
    """Does `work` in the helper; at most one item is under way, and one is waited for at a time."""

    def __init__(self, work: Callable[[T], R], helper: ThreadPoolExecutor) -> None:
        self._work = work
        self._helper = helper
        self._under_way: Future[R] | None = None

    def put(self, item: T) -> R | None:
        """Begin with `item` once the one before is done; return what became of that one.

        What the work raises is raised by the next call.
        """
        done = self.settle()
        self._under_way = self._helper.submit(self._work, item)
        return done

    def settle(self) -> R | None:
        """Wait for the item under way; return what became of it, None where there is none."""
        under_way, self._under_way = self._under_way, None
        return None if under_way is None else under_way.result()


def overlapped(
    parts: Sequence[Part],
    prepare: Callable[[Part], Ready],
    launch: Callable[[Ready], Launched],
    finish: Callable[[Launched], Done],
) -> Iterator[Done]:
    """Yield `finish(launch(prepare(part)))` of each part, in order.

    While what `launch` began is going on, a thread prepares the next part, and the one before is
    finished. What a step raises is raised here.
    """
    if len(parts) == 1:
        yield finish(launch(prepare(parts[0])))
        return
    with make_helper("pubner-tokenise") as helper:
        behind: list[Launched] = []
        for ready in read_ahead(map(prepare, parts), helper):
            behind.append(launch(ready))
            if len(behind) > 1:
                yield finish(behind.pop(0))
        yield from map(finish, behind)
