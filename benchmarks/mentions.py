"""How far two ways to annotate agree."""

from collections.abc import Collection, Hashable
from typing import Any


def difference(found: Collection[Hashable], reference: Collection[Hashable]) -> dict[str, Any]:
    """Return how many mentions only one of the two has, as a share of the reference's.

    A mention with another boundary counts twice: one is missing, one is too many.
    """
    one, other = set(found), set(reference)
    return {
        "mentions": len(one),
        "reference_mentions": len(other),
        "share_different": len(one ^ other) / max(1, len(other)),
    }
