"""Copies of a remote registry's checkpoints on this machine, shared by its processes."""

import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from schemas.errors import CheckpointError, OutputError
from worker.checkpoint import read_manifest
from worker.locks import exclusive

_WAIT_SECONDS = 3600.0
"""How long a process waits while another one downloads the same checkpoint."""


def default_cache(environment: Mapping[str, str] | None = None) -> Path:
    """Return where checkpoints of remote registries are kept on this machine.

    That is `$XDG_CACHE_HOME/pubner/checkpoints`, or below `~/.cache`; where nobody has a home, as
    in some containers, below the folder of temporary files.
    """
    known = os.environ if environment is None else environment
    home = known.get("XDG_CACHE_HOME")
    if not home:
        home = f"{known['HOME']}/.cache" if known.get("HOME") else tempfile.gettempdir()
    return Path(home) / "pubner" / "checkpoints"


def cached(checkpoint_id: str, cache: Path, *, fill: Callable[[str, Path], None]) -> Path:
    """Return `cache/ID`, verified; `fill` copies the checkpoint into an empty folder if need be.

    Only one process at a time does. A copy that is broken or damaged is replaced, in one step.

    :raises OutputError: if the cache cannot be written, or another process does not end.
    """
    place = cache / checkpoint_id
    try:
        with exclusive(cache / ".locks" / f"{checkpoint_id}.lock", wait_seconds=_WAIT_SECONDS):
            if not _is_sound(place, checkpoint_id):
                _replace(place, checkpoint_id, fill)
    except OSError as error:
        raise OutputError(
            f"cannot write checkpoints to {str(cache)!r}: {error.strerror or error}; make room "
            "or name another folder with --checkpoint-cache"
        ) from error
    return place


def _is_sound(folder: Path, checkpoint_id: str) -> bool:
    try:
        return read_manifest(folder).id == checkpoint_id
    except CheckpointError:
        return False


def _replace(place: Path, checkpoint_id: str, fill: Callable[[str, Path], None]) -> None:
    temporary = place.with_name(f".{checkpoint_id}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)  # of a process that was killed
    temporary.mkdir()
    try:
        fill(checkpoint_id, temporary)
        read_manifest(temporary)
        shutil.rmtree(place, ignore_errors=True)
        temporary.replace(place)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
