"""Work in three steps of which a device does the middle one: none of them waits for another."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Part = TypeVar("Part")
Ready = TypeVar("Ready")
Launched = TypeVar("Launched")
Done = TypeVar("Done")


def overlapped(
    parts: Sequence[Part],
    prepare: Callable[[Part], Ready],
    launch: Callable[[Ready], Launched],
    finish: Callable[[Launched], Done],
) -> Iterator[Done]:
    """Yield `finish(launch(prepare(part)))` of each part, in order.

    While a device does what `launch` gave it, a thread prepares the next part, and the one before
    is finished. What a step raises is raised here.
    """
    if not parts:
        return
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="pubner-tokenise") as helper:
        coming = helper.submit(prepare, parts[0])
        behind: list[Launched] = []
        for number in range(len(parts)):
            ready = coming.result()
            if number + 1 < len(parts):
                coming = helper.submit(prepare, parts[number + 1])
            behind.append(launch(ready))
            if len(behind) > 1:
                yield finish(behind.pop(0))
        yield finish(behind.pop())
