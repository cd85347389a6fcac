"""Which checkpoint of a registry a worker uses."""

from dataclasses import dataclass
from typing import Final

LOOK_SECONDS: Final = 15.0
"""How long a worker rests between two looks at the pointer, unless it is told otherwise."""


@dataclass(frozen=True, slots=True)
class Registered:
    """A checkpoint of a registry: the one that is `pinned`, or the active one as it changes.

    `cache` is the folder in which each worker keeps checkpoints of a remote registry, None for the
    cache folder of the user that the worker runs as;
    `look_seconds` is the least time between two looks at the pointer.
    """

    registry: str
    cache: str | None
    pinned: str | None = None
    look_seconds: float = LOOK_SECONDS
