"""Resolution of checkpoint names: a folder, `default`, or a checkpoint of a registry.

`default` is the checkpoint that pubner ships; with a registry, `active` is its active checkpoint,
and hex digits are an id or a prefix of one.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from schemas.errors import CheckpointError, SettingsError
from schemas.manifest import ID_LENGTH, CheckpointManifest
from worker.checkpoint.folder import read_manifest, resolve_checkpoint
from worker.registry.registry import (
    ACTIVE,
    CHECKPOINTS,
    Registry,
    default_cache,
    open_registry,
)

_IN_REGISTRY = re.compile(rf"{ACTIVE}|[0-9a-f]{{1,{ID_LENGTH}}}")


@dataclass(frozen=True, slots=True)
class FoundFolder:
    """A checkpoint in a folder."""

    folder: Path

    @property
    def location(self) -> str:
        """Its path or URL."""
        return str(self.folder.resolve())

    def verify(self) -> CheckpointManifest:
        """Verify all files against the manifest, and return the manifest.

        :raises CheckpointError: if a file differs.
        """
        return read_manifest(self.folder)

    def fetch(self, cache: Path | None = None) -> Path:  # noqa: ARG002 - it is local already
        """Return the checkpoint's folder."""
        return self.folder


@dataclass(frozen=True, slots=True)
class FoundPublished:
    """A checkpoint of a registry."""

    registry: Registry
    id: str

    @property
    def location(self) -> str:
        """Its path or URL."""
        return f"{self.registry.root}/{CHECKPOINTS}/{self.id}"

    def verify(self) -> CheckpointManifest:
        """Verify all files against the manifest, and return the manifest.

        :raises CheckpointError: if a file differs.
        """
        return self.registry.verify(self.id)

    def fetch(self, cache: Path | None = None) -> Path:
        """Return a verified local folder of the checkpoint; `cache` defaults to the user's cache.

        :raises PubnerError: if its files differ from its manifest, or cannot be read.
        """
        return self.registry.fetch(self.id, cache or default_cache())


def find_checkpoint(name: str, registry: str | None) -> FoundFolder | FoundPublished:
    """Resolve a checkpoint's name.

    With a registry, `active` and hex digits (an id or a prefix of one) are looked up there; a
    folder with such a name is given as `./NAME`.

    :raises PubnerError: if there is no such checkpoint, or several.
    """
    if registry is not None and _IN_REGISTRY.fullmatch(name):
        opened = open_registry(registry)
        return FoundPublished(opened, opened.find(name))
    if name == ACTIVE and not Path(name).exists():
        raise SettingsError("only a registry has an active checkpoint; give one with --registry")
    try:
        return FoundFolder(resolve_checkpoint(name))
    except CheckpointError as error:
        if registry is None or Path(name).exists():
            raise
        opened = open_registry(registry)
        raise CheckpointError(
            f"{error}; or give a prefix of an id in {opened.root}, which has {opened.list_ids()}"
        ) from error


def checkpoint_folder(name: str, registry: str | None, cache: Path | None = None) -> Path:
    """Return the folder of the checkpoint called `name`, fetched if it is remote.

    :raises PubnerError: if there is no such checkpoint, or several, or it cannot be read.
    """
    return find_checkpoint(name, registry).fetch(cache)
