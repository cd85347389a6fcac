"""The IOBES tag scheme: the tags of a label set, and the allowed transitions.

IOBES marks a single-token mention `S`, and the beginning, inside and end of a longer one `B`, `I`,
`E`; `O` is outside (Ratinov and Roth 2009, "Design challenges and misconceptions in NER").
"""

from collections.abc import Sequence

OUTSIDE = "O"
POSITIONS = ("B", "I", "E", "S")


def iobes_tags(labels: Sequence[str]) -> tuple[str, ...]:
    """Return the tags of `labels`: `O` first, then B, I, E, S of each label in order."""
    return (OUTSIDE, *(f"{position}-{label}" for label in labels for position in POSITIONS))


def split_tag(tag: str) -> tuple[str, str]:
    """Split `B-Disease` into `("B", "Disease")`; `O` gives `("O", "")`."""
    position, _, label = tag.partition("-")
    return position, label


def may_start(tag: str) -> bool:
    """Whether a sequence may begin with `tag`."""
    return split_tag(tag)[0] in ("O", "B", "S")


def may_end(tag: str) -> bool:
    """Whether a sequence may end with `tag`."""
    return split_tag(tag)[0] in ("O", "E", "S")


def may_follow(before: str, after: str) -> bool:
    """Whether IOBES allows the tag `after` directly after `before`."""
    before_position, before_label = split_tag(before)
    after_position, after_label = split_tag(after)
    if before_position in ("B", "I"):
        return after_position in ("I", "E") and after_label == before_label
    return after_position in ("O", "B", "S")
