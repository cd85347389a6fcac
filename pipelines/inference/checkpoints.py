"""The checkpoints of a run: folders, or the active checkpoint of a registry."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from pipelines.telemetry.logs import log
from schemas.errors import CheckpointError
from worker.registry.choice import Registered
from worker.storage.locations import absolute

if TYPE_CHECKING:
    from worker.registry.registry import Registry


@dataclass(frozen=True, slots=True)
class Checkpoints:
    """The checkpoints of a run: `folders`, or a `registered` one; and their id at the start."""

    id: str
    folders: tuple[Path, ...] = ()
    registered: Registered | None = None


class CheckpointOptions(Protocol):
    """The options that name checkpoints."""

    @property
    def checkpoint(self) -> tuple[str, ...]:
        """Folders, `default`, or with a registry one of its checkpoints."""

    @property
    def registry(self) -> str | None:
        """A registry of checkpoints."""

    @property
    def named_in_registry(self) -> str | None:
        """The checkpoint that is named together with a registry; None for the active one."""

    @property
    def checkpoint_cache(self) -> Path | None:
        """The cache folder for checkpoints of a remote registry; None for the user's own."""


def choose_checkpoints(
    options: CheckpointOptions, *, poll_seconds: float | None = None
) -> Checkpoints:
    """Return the checkpoints that `options` name, verified.

    Of a registry it is the checkpoint that is named, or the one that is active now. With
    `poll_seconds` a worker follows the active one, which it polls for that often; should that one
    be broken, the run begins with the one before, as its workers do.

    :raises PubnerError: if one is missing or damaged, two have the same head, or none is active.
    """
    if options.registry is None:
        return check_checkpoints(options.checkpoint)
    from worker.registry.names import FoundFolder, find_checkpoint
    from worker.registry.registry import ACTIVE, default_cache, open_registry

    cache = options.checkpoint_cache
    cache = None if cache is None else Path(absolute(str(cache)))
    name = options.named_in_registry
    if name is not None and name != ACTIVE:
        found = find_checkpoint(name, options.registry)
        if isinstance(found, FoundFolder):
            return check_checkpoints([name])
        found.fetch(cache)
        return Checkpoints(found.id, registered=_registered(found.registry.root, cache, found.id))
    registry = open_registry(options.registry)
    if poll_seconds is None:
        active = registry.active().id
        registry.fetch(active, cache or default_cache())
        return Checkpoints(active, registered=_registered(registry.root, cache, active))
    active = _first_sound(registry, cache or default_cache())
    followed = replace(_registered(registry.root, cache, None), poll_seconds=poll_seconds)
    return Checkpoints(active, registered=followed)


def _registered(root: str, cache: Path | None, pinned: str | None) -> Registered:
    """Return the registry choice for the workers, which use their own cache unless one is named."""
    cache_path = None if cache is None else absolute(str(cache))
    return Registered(absolute(root), cache_path, pinned)


def _first_sound(registry: "Registry", cache: Path) -> str:
    broken: list[CheckpointError] = []
    for checkpoint_id in registry.active_and_fallbacks()[1]:
        try:
            registry.fetch(checkpoint_id, cache)
        except CheckpointError as error:
            broken.append(error)
            log("a checkpoint is damaged, the previous one is used", reason=str(error))
        else:
            return checkpoint_id
    raise broken[0]


def check_checkpoints(names: Sequence[str]) -> Checkpoints:
    """Verify checkpoints by their folders' names.

    :raises CheckpointError: if one is missing or damaged, or two have the same head.
    """
    from worker.checkpoint.folder import read_manifest, resolve_checkpoint, set_id

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
