"""Intervals of offsets: sets of half-open ranges, and their text form."""

from collections.abc import Iterable

Interval = tuple[int, int]
"""Half-open: the first offset, and the one after the last."""
Intervals = tuple[Interval, ...]
"""Sorted, not empty, and neither overlapping nor adjacent."""


def union(intervals: Iterable[Interval]) -> Intervals:
    """Return the union of `intervals` (in any order, some may be empty), merged and sorted."""
    merged: list[Interval] = []
    for begin, end in sorted(intervals):
        if end <= begin:
            continue
        if merged and begin <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((begin, end))
    return tuple(merged)


def contains(intervals: Intervals, interval: Interval) -> bool:
    """Whether every offset of `interval` is in `intervals`."""
    begin, end = interval
    return begin >= end or any(first <= begin and end <= last for first, last in intervals)


def format_intervals(intervals: Intervals) -> str:
    """Return `intervals` as text, `0-5,7-9`; `parse_intervals` reverses it."""
    return ",".join(f"{begin}-{end}" for begin, end in intervals)


def parse_intervals(text: str) -> Intervals:
    """Return the intervals that `text` holds.

    :raises ValueError: if `text` was not written by `format_intervals`.
    """
    found = []
    for part in filter(None, text.split(",")):
        begin, end = part.split("-")
        found.append((int(begin), int(end)))
    return union(found)
