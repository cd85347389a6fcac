"""The checkpoints that an output is compared with, from folders and from a registry."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Protocol

from schemas.errors import RegistryError
from schemas.manifest import CheckpointManifest, DriftReference
from worker.checkpoint.folder import TOKENISER, read_manifest
from worker.drift.tally import joined_reference
from worker.registry.registry import Registry, open_registry
from worker.storage.disk import DiskObjects
from worker.text.tokenisation import WordPieceTokeniser, load_tokeniser


@dataclass(frozen=True, slots=True, eq=False)
class KnownCheckpoint:
    """An available checkpoint, or a set of several: its reference, heads and tokenisers."""

    reference: DriftReference | None
    heads: tuple[str, ...]
    tokenisers: tuple[WordPieceTokeniser, ...]


class Known(Protocol):
    """Looks up checkpoints and sets by id."""

    def get(self, checkpoint_id: str, /) -> KnownCheckpoint | None:
        """Return the checkpoint or set; None if it is not available."""


def known_checkpoints(folders: Sequence[Path]) -> dict[str, KnownCheckpoint]:
    """Return the checkpoints in `folders` by id, and each possible set of them.

    :raises CheckpointError: if one is missing, altered, or contradicts its manifest.
    """
    found: dict[str, KnownCheckpoint] = {}
    for folder in folders:
        manifest = read_manifest(folder)
        found[manifest.id] = KnownCheckpoint(
            manifest.reference, _heads(manifest), _tokenisers(manifest, folder)
        )
    if len(found) == 1:
        return found
    from worker.checkpoint.folder import set_id

    alone = dict(found)
    for size in range(2, len(alone) + 1):
        for ids in combinations(alone, size):
            checkpoints = [alone[one] for one in ids]
            heads = [head for member in checkpoints for head in member.heads]
            if len(set(heads)) == len(heads):  # a tagger accepts each head only once
                found[set_id(ids)] = KnownCheckpoint(
                    joined_reference([member.reference for member in checkpoints]),
                    tuple(heads),
                    tuple(x for member in checkpoints for x in member.tokenisers),
                )
    return found


class KnownWithRegistry:
    """The checkpoints of folders, and those published in a registry.

    The registry is queried once per id. If it and a folder have a reference with the same id, the
    folder's is used with `folders_first`, else the registry's.
    """

    def __init__(
        self,
        given: Mapping[str, KnownCheckpoint],
        root: str,
        *,
        cache: Path,
        folders_first: bool,
        tokenisers: bool,
    ) -> None:
        """Open the registry at `root`.

        :param given: the checkpoints in folders, by id
        :param cache: the folder for fetched checkpoints of a remote registry
        :param tokenisers: whether tokenisers are needed, for which whole checkpoints are fetched
        :raises RegistryError: if there is no registry at `root`.
        """
        self._given = given
        self._registry = _opened(root)
        self._cache = cache
        self._folders_first = folders_first
        self._with_tokenisers = tokenisers
        self._found: dict[str, KnownCheckpoint | None] = {}

    def get(self, checkpoint_id: str, /) -> KnownCheckpoint | None:
        """Return the checkpoint; None if it is neither in a folder nor published.

        :raises PubnerError: if the registry cannot be read, or its checkpoint is damaged.
        """
        if checkpoint_id not in self._found:
            self._found[checkpoint_id] = self._look_up(checkpoint_id)
        return self._found[checkpoint_id]

    def _look_up(self, checkpoint_id: str) -> KnownCheckpoint | None:
        given = self._given.get(checkpoint_id)
        if given is not None and given.reference is not None and self._folders_first:
            return given
        try:
            self._registry.publication(checkpoint_id)
        except RegistryError:
            return given
        manifest = self._registry.manifest(checkpoint_id)
        if given is not None:  # the same id, so the same heads and tokeniser
            return replace(given, reference=manifest.reference or given.reference)
        tokenisers: tuple[WordPieceTokeniser, ...] = ()
        if self._with_tokenisers and _reads_pieces(manifest):
            folder = self._registry.fetch(checkpoint_id, self._cache)
            tokenisers = _tokenisers(manifest, folder)
        return KnownCheckpoint(manifest.reference, _heads(manifest), tokenisers)


def _opened(root: str) -> Registry:
    registry = open_registry(root)
    objects = registry.objects
    if isinstance(objects, DiskObjects) and not objects.root.is_dir():
        raise RegistryError(
            f"no registry at {root!r}: it is no folder; publish a checkpoint there first, or leave "
            "--registry (PUBNER_REGISTRY) out"
        )
    return registry


def _heads(manifest: CheckpointManifest) -> tuple[str, ...]:
    return tuple(task.name for task in manifest.tasks)


def _reads_pieces(manifest: CheckpointManifest) -> bool:
    return TOKENISER in manifest.files


def _tokenisers(manifest: CheckpointManifest, folder: Path) -> tuple[WordPieceTokeniser, ...]:
    if not _reads_pieces(manifest):
        return ()
    return (load_tokeniser(folder / TOKENISER, manifest.reading),)
