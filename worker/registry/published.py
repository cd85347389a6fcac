"""Publication records of a registry, and verified reads of the files to publish."""

import hashlib
from pathlib import Path

from pydantic import AwareDatetime, BaseModel, ConfigDict

from schemas.errors import CheckpointError
from schemas.manifest import CheckpointManifest
from worker.checkpoint.folder import MANIFEST, parse_manifest


class Publication(BaseModel):
    """A publication record: who published a checkpoint, and when (UTC)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    who: str
    when: AwareDatetime


def content(manifest: CheckpointManifest) -> tuple[object, ...]:
    """Return the fields that must be equal in two manifests of one id; others may differ."""
    return (
        manifest.kind,
        manifest.files,
        manifest.tasks,
        manifest.letter_case,
        manifest.max_pieces,
        manifest.calibration,
    )


def digest_of(data: bytes) -> str:
    """Return the SHA-256 of `data` as hex."""
    return hashlib.sha256(data).hexdigest()


def read_file(path: Path, digest: str) -> bytes:
    """Return the bytes of a file to be published, whose SHA-256 must still be `digest`.

    :raises CheckpointError: if it cannot be read, or has changed since it was verified.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}") from error
    if digest_of(data) != digest:
        raise CheckpointError(f"{path} was altered while it was being published; try again")
    return data


def read_manifest_bytes(folder: Path, manifest: CheckpointManifest) -> bytes:
    """Return the bytes of a folder's manifest, whose content must still be `manifest`.

    :raises CheckpointError: if it cannot be read, or has changed.
    """
    path = folder / MANIFEST
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}") from error
    if parse_manifest(data, str(path)) != manifest:
        raise CheckpointError(f"{path} was altered while it was being published; try again")
    return data
