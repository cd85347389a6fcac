"""Local cache of a remote registry's checkpoints, shared by the processes of a machine."""

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
"""Errors that mean that files of a checkpoint are missing, not that reading them failed."""


def default_cache(environment: Mapping[str, str] | None = None) -> Path:
    """Return the folder where checkpoints of remote registries are cached on this machine.

    That is `$XDG_CACHE_HOME/pubner/checkpoints`, or below `~/.cache`; if there is no home folder,
    as in some containers, below the folder of temporary files.
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
    """Return the verified folder `cache/ID`; if needed, `fill` copies the checkpoint into it first.

    Only one process at a time copies; the others wait. A damaged copy is renamed before the new one
    replaces it, so processes that have its files open can go on reading them.

    :raises OutputError: if the cache cannot be read or written, or another process holds its lock
        for `wait_seconds`.
    """
    folder = cache / checkpoint_id
    try:
        with exclusive(cache / ".locks" / f"{checkpoint_id}.lock", wait_seconds=wait_seconds):
            if not _is_valid(folder, checkpoint_id):
                _replace(folder, checkpoint_id, fill)
    except LockedError as error:
        raise OutputError(
            f"process {error.holder} has been fetching checkpoint {checkpoint_id} to "
            f"{str(cache)!r} for {wait_seconds / 60:.0f} minutes; wait until it ends, or end it if "
            "it is suspended, and try again"
        ) from error
    except OSError as error:
        raise OutputError(
            f"cannot write checkpoints to {str(cache)!r}: {error.strerror or error}; free "
            "disk space or give another folder with --checkpoint-cache"
        ) from error
    return folder


def _is_valid(folder: Path, checkpoint_id: str) -> bool:
    """Whether the checkpoint exists and is valid.

    :raises OutputError: if that is unknown, because the system does not permit reading it.
    """
    try:
        return read_manifest(folder).id == checkpoint_id
    except CheckpointError as error:
        cause = error.__cause__
        if isinstance(cause, OSError) and not isinstance(cause, _NOT_THERE):
            raise OutputError(
                f"{error}: the copy in {str(folder)!r} is left as it is; make it readable, or give "
                "another folder with --checkpoint-cache"
            ) from error
        return False


def _replace(folder: Path, checkpoint_id: str, fill: Callable[[str, Path], None]) -> None:
    temporary = folder.with_name(f".{checkpoint_id}.tmp")
    aside = folder.with_name(f".{checkpoint_id}.damaged.tmp")
    for left in (temporary, aside):  # left by a process that was killed
        shutil.rmtree(left, ignore_errors=True)
    temporary.mkdir()
    try:
        fill(checkpoint_id, temporary)
        read_manifest(temporary)
        with suppress(FileNotFoundError):
            folder.rename(aside)
        temporary.replace(folder)
    finally:
        for left in (temporary, aside):
            shutil.rmtree(left, ignore_errors=True)
