"""The overlap policy: which mention to take where heads find several for one entity type.

Every head's mentions are written. `preferred` marks, within each entity type, a set of mentions
that do not overlap: the most probable first, then the longer, then the earlier, then by head.
Mentions of different entity types never compete.
"""

from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from schemas.records import Mention
from schemas.tasks import EntityType


def mark_preferred(mentions: Sequence[Mention]) -> tuple[Mention, ...]:
    """Return the same mentions, in the same order, with `preferred` set by the policy."""
    ranked = sorted(
        range(len(mentions)),
        key=lambda number: (
            -mentions[number].score,
            mentions[number].start - mentions[number].end,
            mentions[number].start,
            mentions[number].task,
            mentions[number].label,
        ),
    )
    taken: dict[EntityType, list[tuple[int, int]]] = defaultdict(list)
    preferred = set()
    for number in ranked:
        mention = mentions[number]
        spans = taken[mention.entity_type]
        place = bisect_left(spans, (mention.start, mention.end))
        clear_before = place == 0 or spans[place - 1][1] <= mention.start
        clear_after = place == len(spans) or spans[place][0] >= mention.end
        if clear_before and clear_after:
            insort(spans, (mention.start, mention.end))
            preferred.add(number)
    return tuple(
        replace(mention, preferred=number in preferred) for number, mention in enumerate(mentions)
    )
