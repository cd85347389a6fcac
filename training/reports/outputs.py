"""Preparation of the output folder of a training command."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from schemas.errors import TrainingError
from worker.checkpoint.folder import MANIFEST


def prepare_output(output: Path, *, restart: bool, own: Sequence[str]) -> None:
    """Create the folder `output`; with `restart` remove its `own` files, and nothing else.

    :param own: names of the command's files and folders; if the manifest is among them, the command
        writes a checkpoint, and `restart` may remove a finished one
    :raises TrainingError: if it is a file, cannot be created, or holds a finished checkpoint.
    """
    if output.exists() and not output.is_dir():
        raise TrainingError(f"--output {output} is a file; name a folder")
    makes_checkpoint = MANIFEST in own
    if (output / MANIFEST).is_file() and not (restart and makes_checkpoint):
        way_out = ", or --restart" if makes_checkpoint else ""
        raise TrainingError(
            f"{output} already holds a finished checkpoint; name another --output{way_out}"
        )
    if restart:
        for path in (output / name for name in own):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TrainingError(
            f"the output folder {output} cannot be made: {error.strerror}; name another --output"
        ) from error
