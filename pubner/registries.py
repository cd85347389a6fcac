"""A registry of checkpoints: which there are, and which is active."""

from pathlib import Path

from pubner.tagging import Tagger, load
from worker.checkpoint.folder import read_manifest, resolve_checkpoint
from worker.registry.names import checkpoint_folder
from worker.registry.pointer import Change
from worker.registry.registry import open_registry
from worker.registry.who import default_who
from worker.system.clock import utc_now


class Registry:
    """The registry at a folder, or an s3:// or gs:// URL.

    >>> import tempfile, pubner
    >>> registry = pubner.Registry(tempfile.mkdtemp())
    >>> identity = registry.publish("default", who="ann")
    >>> registry.ids() == [identity]
    True
    >>> registry.active() is None
    True
    """

    def __init__(self, url: str) -> None:
        self._registry = open_registry(url)
        self.url = self._registry.root

    def ids(self) -> list[str]:
        """Return the ids of the published checkpoints, sorted."""
        return self._registry.ids()

    def active(self) -> str | None:
        """Return the id of the active checkpoint; None before the first promotion."""
        change = self._registry.pointer().active
        return None if change is None else change.id

    def history(self) -> list[Change]:
        """Return every change of the active checkpoint, the first one first."""
        return list(self._registry.pointer().changes)

    def publish(self, checkpoint: str, who: str | None = None) -> str:
        """Copy a checkpoint, `default` or a folder, to the registry; return its id.

        :raises CheckpointError: if it is not what its manifest says.
        :raises RegistryError: if the registry can only be read.
        """
        folder = resolve_checkpoint(checkpoint)
        self._registry.publish(folder, who=who or default_who(), when=utc_now())
        return read_manifest(folder, verify=False).id

    def fetch(self, name: str = "active", cache: Path | None = None) -> Path:
        """Return a verified folder on this machine of a checkpoint, by its id or `active`."""
        return checkpoint_folder(name, self.url, cache)

    def load(self, name: str = "active", device: str = "auto") -> Tagger:
        """Load a checkpoint of the registry, by its id, the beginning of one, or `active`."""
        return load(name, registry=self.url, device=device)
