"""Copies of a remote registry's checkpoints on this machine, shared by its processes."""

import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from schemas.errors import CheckpointError, LockedError, OutputError
from worker.checkpoint.folder import read_manifest
from worker.system.locks import exclusive

_WAIT_SECONDS = 600.0
"""How long a process waits while another one downloads the same checkpoint."""
_NOT_THERE = (FileNotFoundError, NotADirectoryError, IsADirectoryError)
"""What says of a checkpoint that files are missing, not that they cannot be read now."""


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


def cached(
    checkpoint_id: str,
    cache: Path,
    *,
    fill: Callable[[str, Path], None],
    wait_seconds: float = _WAIT_SECONDS,
) -> Path:
    """Return `cache/ID`, verified; `fill` copies the checkpoint into an empty folder if need be.

    Only one process at a time does; the others wait for it. A copy that is broken or damaged is
    moved aside before the new one takes its place, so whoever has it open reads on.

    :raises OutputError: if the cache cannot be read or written, or another process does not end.
    """
    place = cache / checkpoint_id
    try:
        with exclusive(cache / ".locks" / f"{checkpoint_id}.lock", wait_seconds=wait_seconds):
            if not _is_sound(place, checkpoint_id):
                _replace(place, checkpoint_id, fill)
    except LockedError as error:
        raise OutputError(
            f"process {error.holder} has been fetching checkpoint {checkpoint_id} to "
            f"{str(cache)!r} for {wait_seconds / 60:.0f} minutes; wait for its end, or end it if "
            "it is stopped, and try again"
        ) from error
    except OSError as error:
        raise OutputError(
            f"cannot write checkpoints to {str(cache)!r}: {error.strerror or error}; make room "
            "or name another folder with --checkpoint-cache"
        ) from error
    return place


def _is_sound(folder: Path, checkpoint_id: str) -> bool:
    """Whether the checkpoint is there and whole.

    :raises OutputError: if that cannot be known, for the system does not let it be read.
    """
    try:
        return read_manifest(folder).id == checkpoint_id
    except CheckpointError as error:
        cause = error.__cause__
        if isinstance(cause, OSError) and not isinstance(cause, _NOT_THERE):
            raise OutputError(
                f"{error}: the copy in {str(folder)!r} is left as it is; see to it that it can be "
                "read, or name another folder with --checkpoint-cache"
            ) from error
        return False


def _replace(place: Path, checkpoint_id: str, fill: Callable[[str, Path], None]) -> None:
    temporary = place.with_name(f".{checkpoint_id}.tmp")
    aside = place.with_name(f".{checkpoint_id}.damaged.tmp")
    for left in (temporary, aside):  # of a process that was killed
        shutil.rmtree(left, ignore_errors=True)
    temporary.mkdir()
    try:
        fill(checkpoint_id, temporary)
        read_manifest(temporary)
        with suppress(FileNotFoundError):
            place.rename(aside)
        temporary.replace(place)
    finally:
        for left in (temporary, aside):
            shutil.rmtree(left, ignore_errors=True)
