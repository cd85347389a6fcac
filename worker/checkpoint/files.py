"""Safe reading of a checkpoint's files, which may come from an untrusted source.

Only regular files are opened, so that a named pipe or a device cannot block the reader, and each
has a maximum size, so that none fills the memory.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from safetensors import SafetensorError, safe_open

from schemas.errors import CheckpointError
from worker.system.regular_files import open_regular

MANIFEST: Final = "manifest.json"
WEIGHTS: Final = "model.safetensors"
CONFIG: Final = "config.json"
TOKENISER: Final = "tokenizer.json"
DICTIONARY: Final = "dictionary.json"

_MIB: Final = 1 << 20
LARGEST: Final[Mapping[str, int]] = {
    MANIFEST: 16 * _MIB,
    CONFIG: _MIB,
    TOKENISER: 64 * _MIB,
    DICTIONARY: 128 * _MIB,
    WEIGHTS: 8192 * _MIB,
}
"""The maximum size of each file of a checkpoint, in bytes, far above that of any real one."""
_LARGEST_OTHER: Final = 64 * _MIB
_FLOATS: Final = frozenset({"F16", "BF16", "F32"})


def largest(name: str) -> int:
    """Return the maximum size of the checkpoint file `name`, in bytes."""
    return LARGEST.get(name, _LARGEST_OTHER)


def check_size(path: Path) -> None:
    """Check that a file of a checkpoint is a regular file of at most its maximum size.

    :raises CheckpointError: if it is larger.
    :raises OSError: if it cannot be opened, or is not a regular file.
    """
    with open_regular(path) as stream:
        _refuse_large(path, os.fstat(stream.fileno()).st_size)


def read_bounded(path: Path) -> bytes:
    """Return the content of a checkpoint's file.

    :raises CheckpointError: if it cannot be read, is not a regular file, or is too large.
    """
    limit = largest(path.name)
    try:
        with open_regular(path) as stream:
            data = stream.read(limit + 1)
            _refuse_large(path, max(len(data), os.fstat(stream.fileno()).st_size))
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}") from error
    return data


def weight_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Return the shape of each tensor of a safetensors file, read from its header.

    :raises CheckpointError: if it is not one, or holds a tensor that is not fp16, bf16 or fp32.
    """
    try:
        with safe_open(path, framework="pt") as file:
            parts = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
            kinds = {name: part.get_dtype() for name, part in parts.items()}
            shapes = {name: tuple(part.get_shape()) for name, part in parts.items()}
    except (OSError, ValueError, SafetensorError) as error:
        raise CheckpointError(
            f"checkpoint {path.parent}: {path.name} cannot be read: {error}"
        ) from error
    for name, kind in kinds.items():
        if kind not in _FLOATS:
            raise CheckpointError(
                f"{path}: the weight {name} is of type {kind}, expected F16, BF16 or F32; export "
                "the checkpoint again"
            )
    return shapes


def _refuse_large(path: Path, size: int) -> None:
    if size > largest(path.name):
        raise CheckpointError(
            f"{path} has {size:,} bytes; a checkpoint's {path.name} has at most "
            f"{largest(path.name):,}: it is damaged or not a checkpoint's file; copy it again"
        )
