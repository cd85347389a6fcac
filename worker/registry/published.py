"""What a registry takes from a checkpoint's folder, and the record that it is published."""

import hashlib
from pathlib import Path

from pydantic import AwareDatetime, BaseModel, ConfigDict

from schemas.errors import CheckpointError
from schemas.manifest import CheckpointManifest
from worker.checkpoint.folder import MANIFEST, parse_manifest


class Publication(BaseModel):
    """Who published a checkpoint, and when (UTC)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    who: str
    when: AwareDatetime


def content(manifest: CheckpointManifest) -> tuple[object, ...]:
    """Return what two manifests of one id must have in common; notes may differ."""
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
    """Return a file that is to be published, as it was when it was verified.

    :raises CheckpointError: if it is not that any more.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}") from error
    if digest_of(data) != digest:
        raise CheckpointError(f"{path} was altered while it was being published; try again")
    return data


def read_note(folder: Path, manifest: CheckpointManifest) -> bytes:
    """Return the bytes of a manifest, which must still say the same.

    :raises CheckpointError: if it does not.
    """
    path = folder / MANIFEST
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}") from error
    if parse_manifest(data, str(path)) != manifest:
        raise CheckpointError(f"{path} was altered while it was being published; try again")
    return data
