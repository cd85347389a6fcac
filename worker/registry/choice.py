"""The choice of a registry's checkpoint that a worker uses: pinned, or the active one."""

from dataclasses import dataclass
from typing import Final

POLL_SECONDS: Final = 15.0
"""The default interval in seconds between two polls of the pointer."""


@dataclass(frozen=True, slots=True)
class Registered:
    """A registry's checkpoint: the id `pinned`, or if None the active one, followed as it changes.

    `cache` is the folder in which each worker caches checkpoints of a remote registry, None for the
    cache folder of the user that the worker runs as;
    `poll_seconds` is the least time between two polls of the pointer.
    """

    registry: str
    cache: str | None
    pinned: str | None = None
    poll_seconds: float = POLL_SECONDS
