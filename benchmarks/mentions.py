"""The disagreement between the mentions of two annotators."""

from collections.abc import Collection, Hashable
from typing import Any


def difference(found: Collection[Hashable], reference: Collection[Hashable]) -> dict[str, Any]:
    """Return the number of mentions that only one of the two has, over that of the reference.

    A mention with another boundary counts twice, once as missing and once as spurious.
    """
    one, other = set(found), set(reference)
    return {
        "mentions": len(one),
        "reference_mentions": len(other),
        "share_different": len(one ^ other) / max(1, len(other)),
    }
