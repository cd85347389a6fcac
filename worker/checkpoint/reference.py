"""Writing of a drift reference into a checkpoint's manifest."""

from pathlib import Path

from schemas.errors import CheckpointError, OutputError
from schemas.manifest import CheckpointManifest, DriftReference
from worker.checkpoint.folder import MANIFEST, read_manifest, replace_manifest


def write_reference(
    folder: Path, manifest: CheckpointManifest, reference: DriftReference
) -> CheckpointManifest:
    """Add `reference` to the manifest atomically, and return the manifest; its id is unchanged.

    :raises OutputError: if the folder cannot be written.
    :raises CheckpointError: if another command changed the checkpoint meanwhile.
    """
    try:
        replace_manifest(folder, manifest.model_copy(update={"reference": reference}))
    except OSError as error:
        raise OutputError(
            f"cannot write {folder / MANIFEST}: {error.strerror or error}; copy the checkpoint to "
            "a writable folder, and give that one"
        ) from error
    written = read_manifest(folder)
    if (written.id, written.reference) != (manifest.id, reference):
        raise CheckpointError(
            f"{folder / MANIFEST} was changed by another command meanwhile; run this command again"
        )
    return written
