"""What a checkpoint's name means, everywhere: a folder, `default`, or one of a registry.

`default` is the checkpoint that pubner ships; with a registry, `active` is the one that is active
there, and hex digits are an id, or the beginning of one.
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
    def place(self) -> str:
        """Where it lies."""
        return str(self.folder.resolve())

    def verify(self) -> CheckpointManifest:
        """Return its manifest once all its files are as that says.

        :raises CheckpointError: if they are not.
        """
        return read_manifest(self.folder)

    def fetch(self, cache: Path | None = None) -> Path:  # noqa: ARG002 - it is here already
        """Return its folder."""
        return self.folder


@dataclass(frozen=True, slots=True)
class FoundPublished:
    """A checkpoint of a registry."""

    registry: Registry
    id: str

    @property
    def place(self) -> str:
        """Where it lies."""
        return f"{self.registry.root}/{CHECKPOINTS}/{self.id}"

    def verify(self) -> CheckpointManifest:
        """Return its manifest once all its files are as that says.

        :raises CheckpointError: if they are not.
        """
        return self.registry.verify(self.id)

    def fetch(self, cache: Path | None = None) -> Path:
        """Return a verified folder of it on this machine; `cache` None is the user's own cache.

        :raises PubnerError: if it is not what its manifest says, or cannot be read.
        """
        return self.registry.fetch(self.id, cache or default_cache())


def find_checkpoint(name: str, registry: str | None) -> FoundFolder | FoundPublished:
    """Return the checkpoint that `name` stands for.

    With a registry, `active` and hex digits are an id there, as a whole or its beginning; a folder
    of such a name is written `./NAME`.

    :raises PubnerError: if there is no such checkpoint, or several.
    """
    if registry is not None and _IN_REGISTRY.fullmatch(name):
        opened = open_registry(registry)
        return FoundPublished(opened, opened.find(name))
    if name == ACTIVE and not Path(name).exists():
        raise SettingsError("the active checkpoint is that of a registry; name one by --registry")
    try:
        return FoundFolder(resolve_checkpoint(name))
    except CheckpointError as error:
        if registry is None or Path(name).exists():
            raise
        opened = open_registry(registry)
        raise CheckpointError(
            f"{error}; or give the beginning of an id of {opened.root}, which has "
            f"{opened.list_ids()}"
        ) from error


def checkpoint_folder(name: str, registry: str | None, cache: Path | None = None) -> Path:
    """Return the folder of the checkpoint that `name` stands for, fetched where it is remote.

    :raises PubnerError: if there is no such checkpoint, or several, or it cannot be read.
    """
    return find_checkpoint(name, registry).fetch(cache)
