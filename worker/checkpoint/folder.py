"""Checkpoint folders: find, verify, read and write the manifest.

A checkpoint is a folder: `model.safetensors` (fp16), `config.json` (the encoder's),
`tokenizer.json` and, written last, `manifest.json`; or, of kind `dictionary`, `dictionary.json`
and the manifest. Nothing in it is ever unpickled.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from schemas.errors import CheckpointError
from schemas.manifest import (
    ID_LENGTH,
    CheckpointManifest,
    CorpusEntry,
    HeadCalibration,
    LabelEntry,
    TaskEntry,
    content_id,
)
from schemas.tasks import Task
from worker.checkpoint.files import (
    CONFIG,
    DICTIONARY,
    MANIFEST,
    TOKENISER,
    WEIGHTS,
    check_size,
    read_bounded,
)
from worker.storage.atomic import write_whole
from worker.storage.locations import absolute
from worker.system.regular_files import open_regular

__all__ = ["CONFIG", "DICTIONARY", "MANIFEST", "TOKENISER", "WEIGHTS"]

DEFAULT = "default"
MODEL_FILES = (WEIGHTS, CONFIG, TOKENISER)


def default_checkpoint() -> Path:
    """Return the folder of the checkpoint that pubner ships."""
    return Path(str(resources.files("worker").joinpath("default_checkpoint")))


def resolve_checkpoint(name: str) -> Path:
    """Return the folder of the checkpoint `name`: `default` (or its id), or a path.

    :raises CheckpointError: if there is no such folder, or it has no manifest.
    """
    try:
        shipped = name == DEFAULT or _is_shipped(name)
        path = default_checkpoint() if shipped else Path(absolute(name))
        exists = path.is_dir()
    except OSError as error:
        raise CheckpointError(f"no checkpoint at {name!r}: {error.strerror or error}") from error
    if not exists:
        raise CheckpointError(
            f"no checkpoint at {name!r}: expected a folder with {MANIFEST}, or {DEFAULT!r} "
            "for the one that pubner ships"
        )
    if not (path / MANIFEST).is_file():
        raise CheckpointError(
            f"{name!r} is not a checkpoint: it has no {MANIFEST} (which is written last, so an "
            "interrupted copy or export has none); copy or export it again"
        )
    return path


def _is_shipped(name: str) -> bool:
    """Whether `name` is the id of the shipped checkpoint, and no local folder has that name."""
    if len(name) != ID_LENGTH or Path(name).exists():
        return False
    return read_manifest(default_checkpoint(), verify=False).id == name


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a regular file as hex.

    :raises OSError: if it cannot be read, or is not a regular file.
    """
    with open_regular(path) as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def read_manifest(path: Path, *, verify: bool = True) -> CheckpointManifest:
    """Read a checkpoint's manifest; with `verify`, check every file's digest and the id.

    :raises CheckpointError: if the manifest is missing or malformed, or a file is missing, altered
        or does not belong to the id.
    """
    file = path / MANIFEST
    manifest = parse_manifest(read_bounded(file), str(file))
    if verify:
        _verify(path, manifest)
    return manifest


def parse_manifest(data: bytes, location: str) -> CheckpointManifest:
    """Return the manifest in `data`; `location` names its path or URL in messages.

    :raises CheckpointError: if it is malformed or contradicts itself.
    """
    try:
        manifest = CheckpointManifest.model_validate_json(data)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise CheckpointError(
            f"{location} is not a valid manifest: {where}: {first['msg']}; export the checkpoint "
            "again"
        ) from error
    names = [task.name for task in manifest.tasks]
    if len(set(names)) != len(names):
        raise CheckpointError(f"{location} lists a head twice: {names}")
    _check_calibration(location, names, manifest.calibration)
    for name in manifest.files:
        if Path(name).name != name or name in ("", "..", MANIFEST) or "\0" in name:
            raise CheckpointError(f"{location} names a file outside the checkpoint: {name!r}")
    return manifest


def _check_calibration(
    location: str, names: Sequence[str], calibration: Mapping[str, HeadCalibration]
) -> None:
    for name in calibration:
        if name not in names:
            raise CheckpointError(
                f"{location} has a calibration for the head {name!r}, which it lacks; it has "
                f"{', '.join(names)}: calibrate the checkpoint again"
            )


def _verify(path: Path, manifest: CheckpointManifest) -> None:
    for name, expected in manifest.files.items():
        try:
            check_size(path / name)
            found = file_digest(path / name)
        except OSError as error:
            raise CheckpointError(
                f"checkpoint {path}: {name} cannot be read ({error.strerror}); copy it again"
            ) from error
        if found != expected:
            raise CheckpointError(
                f"checkpoint {path}: {name} differs from the manifest (SHA-256 {found[:12]}…, "
                f"expected {expected[:12]}…); it was altered or copied incorrectly; copy it again"
            )
    check_identity(manifest, f"checkpoint {path}")


def check_identity(manifest: CheckpointManifest, location: str) -> None:
    """Check that a manifest's id is the digest of its content; `location` is for messages.

    :raises CheckpointError: if it is not.
    """
    identity = content_id(
        manifest.files,
        manifest.tasks,
        letter_case=manifest.letter_case,
        max_pieces=manifest.max_pieces,
        calibration=manifest.calibration,
        reading=manifest.reading,
    )
    if identity != manifest.id:
        raise CheckpointError(
            f"{location}: the manifest's id {manifest.id} is not the id of its content "
            f"({identity}); the manifest was edited: export the checkpoint again"
        )


def set_id(checkpoint_ids: Sequence[str]) -> str:
    """Return the id of a set of checkpoints: the only id, or the digest of the sorted ids."""
    if len(checkpoint_ids) == 1:
        return checkpoint_ids[0]
    return hashlib.sha256("\n".join(sorted(checkpoint_ids)).encode()).hexdigest()[:ID_LENGTH]


def task_entries(tasks: Sequence[Task]) -> tuple[TaskEntry, ...]:
    """Return `tasks` as entries of a manifest."""
    return tuple(
        TaskEntry(
            name=task.name,
            labels=tuple(
                LabelEntry(name=label.name, entity_type=label.entity_type, curie=label.own_curie)
                for label in task.labels
            ),
        )
        for task in tasks
    )


def write_manifest(
    path: Path,
    *,
    tasks: Sequence[Task],
    letter_case: bool,
    max_pieces: int,
    recipe: Mapping[str, Any],
    encoder_source: str,
    corpora: Sequence[CorpusEntry],
    metrics: Mapping[str, Mapping[str, float]],
    versions: Mapping[str, str],
    files: Sequence[str] = MODEL_FILES,
    calibration: Mapping[str, HeadCalibration] | None = None,
    kind: Literal["encoder", "dictionary"] = "encoder",
    reading: str | None = None,
) -> CheckpointManifest:
    """Write `manifest.json` for the files in the folder `path`: the last step of an export.

    The manifest is written atomically, so a folder that has one is complete.

    :raises CheckpointError: if `calibration` names a head that is not among `tasks`.
    """
    calibration = dict(calibration or {})
    _check_calibration(str(path / MANIFEST), [task.name for task in tasks], calibration)
    digests = {name: file_digest(path / name) for name in files}
    entries = task_entries(tasks)
    manifest = CheckpointManifest(
        id=content_id(
            digests,
            entries,
            letter_case=letter_case,
            max_pieces=max_pieces,
            calibration=calibration,
            reading=reading,
        ),
        kind=kind,
        tasks=entries,
        letter_case=letter_case,
        max_pieces=max_pieces,
        recipe=dict(recipe),
        encoder_source=encoder_source,
        corpora=tuple(corpora),
        metrics={name: dict(values) for name, values in metrics.items()},
        calibration=calibration,
        versions=dict(versions),
        files=digests,
        reading=reading,
    )
    replace_manifest(path, manifest)
    return manifest


def replace_manifest(path: Path, manifest: CheckpointManifest) -> None:
    """Write `manifest` to the folder `path` atomically."""
    values = manifest.model_dump(mode="json")
    write_whole(path / MANIFEST, json.dumps(values, indent=2, ensure_ascii=False) + "\n")
