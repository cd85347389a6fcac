"""Batching of long iterables, so that memory stays bounded."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")


def in_groups(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Yield `items` in their order, `size` at a time; the last group may be smaller.

    `items` is consumed lazily: no further than the group that is yielded next.

    :raises ValueError: if `size` is less than 1.
    """
    if size < 1:
        raise ValueError(f"a group has at least 1 item, not {size}")
    source = iter(items)
    while group := list(islice(source, size)):
        yield group
