"""The overlap policy: which of several overlapping mentions of one entity type is preferred.

All mentions of all heads are written. `preferred` marks, within each entity type, a set of mentions
that do not overlap: the most probable first, then the longer, then the earlier, then by head.
Mentions of different entity types never compete.
"""

from bisect import bisect_left, insort
from collections.abc import Iterator, Sequence
from operator import attrgetter

from schemas.records import Mention

_type_and_start = attrgetter("entity_type", "start")


def mark_preferred(mentions: Sequence[Mention]) -> tuple[Mention, ...]:
    """Return the same mentions, in the same order, with `preferred` set by the policy."""
    rejected = {number for rivals in _rivals(mentions) for number in _rejected(mentions, rivals)}
    return tuple(
        mention
        if mention.preferred is (number not in rejected)
        else _with_preferred(mention, number not in rejected)
        for number, mention in enumerate(mentions)
    )


def _rivals(mentions: Sequence[Mention]) -> Iterator[list[int]]:
    """Yield the mentions that may compete: of one entity type, each overlapping one before it."""
    rivals: list[int] = []
    kind, reach = None, 0
    for number in sorted(
        range(len(mentions)), key=[_type_and_start(m) for m in mentions].__getitem__
    ):
        mention = mentions[number]
        if mention.entity_type == kind and mention.start < reach:
            rivals.append(number)
            reach = max(reach, mention.end)
            continue
        if len(rivals) > 1:
            yield rivals
        rivals, kind, reach = [number], mention.entity_type, mention.end
    if len(rivals) > 1:
        yield rivals


def _rejected(mentions: Sequence[Mention], rivals: list[int]) -> Iterator[int]:
    """Yield those of `rivals` that overlap a better accepted one."""
    accepted: list[tuple[int, int]] = []
    for number in sorted(rivals, key=lambda number: _rank(mentions[number])):
        span = (mentions[number].start, mentions[number].end)
        index = bisect_left(accepted, span)
        clear_before = index == 0 or accepted[index - 1][1] <= span[0]
        clear_after = index == len(accepted) or accepted[index][0] >= span[1]
        if clear_before and clear_after:
            insort(accepted, span)
        else:
            yield number


def _with_preferred(mention: Mention, preferred: bool) -> Mention:
    # Several times cheaper than dataclasses.replace.
    return Mention(
        mention.task,
        mention.label,
        mention.entity_type,
        mention.start,
        mention.end,
        mention.score,
        preferred,
        mention.checkpoint_id,
    )


def _rank(mention: Mention) -> tuple[float, int, int, str, str]:
    return (
        -mention.score,
        mention.start - mention.end,
        mention.start,
        mention.task,
        mention.label,
    )
