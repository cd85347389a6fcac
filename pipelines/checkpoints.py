"""Which checkpoints a run uses: folders, or a registry's active one."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from schemas.errors import CheckpointError
from worker.registry.choice import Registered


@dataclass(frozen=True, slots=True)
class Checkpoints:
    """What a run annotates with: `folders`, or what is `registered`; and its id at the start."""

    id: str
    folders: tuple[Path, ...] = ()
    registered: Registered | None = None


class CheckpointOptions(Protocol):
    """The options that name checkpoints."""

    @property
    def checkpoint(self) -> tuple[str, ...]:
        """Folders, or `default`."""

    @property
    def registry(self) -> str | None:
        """A registry instead."""

    @property
    def checkpoint_cache(self) -> Path | None:
        """Where checkpoints of a remote registry are kept; None for the user's cache folder."""


def choose_checkpoints(
    options: CheckpointOptions, *, look_seconds: float | None = None
) -> Checkpoints:
    """Return what `options` name, verified before anything runs.

    Of a registry it is the checkpoint that is active now; with `look_seconds` the active one, look
    by look.

    :raises PubnerError: if one is missing or broken, two have the same head, or none is active.
    """
    if options.registry is None:
        return check_checkpoints(options.checkpoint)
    from worker.registry.registry import default_cache, open_registry

    cache = options.checkpoint_cache or default_cache()
    registry = open_registry(options.registry)
    active = registry.active().id
    registry.fetch(active, cache)
    root = options.registry if "://" in options.registry else str(Path(options.registry).absolute())
    if look_seconds is None:
        return Checkpoints(active, registered=Registered(root, str(cache), active))
    followed = Registered(root, str(cache), look_seconds=look_seconds)
    return Checkpoints(active, registered=followed)


def check_checkpoints(names: Sequence[str]) -> Checkpoints:
    """Verify checkpoints by their folders' names.

    :raises CheckpointError: if one is missing or broken, or two have the same head.
    """
    from worker.checkpoint import read_manifest, resolve_checkpoint
    from worker.tagger import set_id

    folders = [resolve_checkpoint(name) for name in names]
    manifests = [read_manifest(folder) for folder in folders]
    holders: dict[str, str] = {}
    for name, manifest in zip(names, manifests, strict=True):
        for task in manifest.tasks:
            if task.name in holders:
                raise CheckpointError(
                    f"checkpoints {holders[task.name]!r} and {name!r} both have the head "
                    f"{task.name!r}; give only one of them"
                )
            holders[task.name] = name
    return Checkpoints(set_id([manifest.id for manifest in manifests]), tuple(folders))
