"""Pipelining with helper threads: prepare, compute and finish run concurrently.

The order of items is preserved: a helper works on one item at a time and passes results on in
order.
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
    """The sentinel after the last item."""


_END: Final = _End()


def make_helper(name: str) -> ThreadPoolExecutor:
    """Return an executor with one thread, started on first use; the caller must shut it down."""
    return ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)


def read_ahead(items: Iterator[T], helper: ThreadPoolExecutor) -> Iterator[T]:
    """Yield `items`, while the helper already computes the next one.

    An exception raised by `items` is raised in the position of that item.
    """
    upcoming = helper.submit(_next, items)
    while not isinstance(item := upcoming.result(), _End):
        upcoming = helper.submit(_next, items)
        yield item


def _next(items: Iterator[T]) -> T | _End:
    return next(items, _END)


class WriteBehind(Generic[T, R]):
    """Runs `work` in the helper thread, on at most one item at a time."""

    def __init__(self, work: Callable[[T], R], helper: ThreadPoolExecutor) -> None:
        self._work = work
        self._helper = helper
        self._pending: Future[R] | None = None

    def put(self, item: T) -> R | None:
        """Wait for the previous item, start on `item`, and return the previous item's result.

        An exception raised by `work` is raised by the next call.
        """
        done = self.wait()
        self._pending = self._helper.submit(self._work, item)
        return done

    def wait(self) -> R | None:
        """Wait for the pending item; return its result, None if there is none."""
        pending, self._pending = self._pending, None
        return None if pending is None else pending.result()


def overlapped(
    parts: Sequence[Part],
    prepare: Callable[[Part], Ready],
    launch: Callable[[Ready], Launched],
    finish: Callable[[Launched], Done],
) -> Iterator[Done]:
    """Yield `finish(launch(prepare(part)))` for each part, in order.

    While the work started by `launch` is running, a thread prepares the next part, and the previous
    one is finished. An exception of any step is raised here.
    """
    if len(parts) == 1:
        yield finish(launch(prepare(parts[0])))
        return
    with make_helper("pubner-tokenise") as helper:
        launched: list[Launched] = []
        for ready in read_ahead(map(prepare, parts), helper):
            launched.append(launch(ready))
            if len(launched) > 1:
                yield finish(launched.pop(0))
        yield from map(finish, launched)
