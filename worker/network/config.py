"""The configuration of a checkpoint's encoder, whose sizes are checked before anything is built."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NoReturn

from transformers import AutoConfig, PretrainedConfig

from schemas.errors import CheckpointError
from worker.checkpoint.files import CONFIG, WEIGHTS, read_bounded, weight_shapes
from worker.network.families import foreign_config
from worker.network.model import in_one_line

_UNREAD: Final = frozenset({"auto_map", "id2label", "label2id", "num_labels"})
_REPEATS: Final = re.compile(r"layer|block|group|expert|depth")
"""Matches the names of configuration values that are a number of repeated parts."""
_MOST_LAYERS: Final = 1024
_LARGEST_SIZE: Final = 10_000_000


def read_config(folder: Path) -> PretrainedConfig:
    """Return the configuration of the encoder in a checkpoint's folder.

    :raises CheckpointError: if it, or the weights, cannot be read.
    """
    return load_config(read_bounded(folder / CONFIG), weight_shapes(folder / WEIGHTS))


def load_config(data: bytes, weights: Mapping[str, object]) -> PretrainedConfig:
    """Parse the bytes of a `config.json` as a transformers configuration.

    Its sizes are checked before anything is built: a network with more layers than there are
    `weights`, or with sizes that no encoder has, is never built.

    :raises CheckpointError: if it names no known model type, or has invalid values.
    """
    try:
        values = json.loads(data, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"config.json is not JSON: {error}") from error
    if not isinstance(values, dict) or not isinstance(values.get("model_type"), str):
        raise CheckpointError(
            "config.json names no encoder: expected an object whose model_type is a name that "
            "transformers knows"
        )
    # Labels come from the manifest, and code is never loaded from a checkpoint.
    values = {name: value for name, value in values.items() if name not in _UNREAD}
    _check_sizes(values, most_layers=max(_MOST_LAYERS, len(weights)), path="")
    try:
        return foreign_config(values) or AutoConfig.for_model(values.pop("model_type"), **values)
    except CheckpointError:
        raise
    except Exception as error:  # each configuration class raises its own exceptions
        raise CheckpointError(
            f"config.json names no encoder that transformers knows: {in_one_line(error)}"
        ) from error


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number")


def _check_sizes(values: Mapping[str, object], *, most_layers: int, path: str) -> None:
    for name, value in values.items():
        full_name = f"{path}{name}"
        if isinstance(value, dict):
            _check_sizes(value, most_layers=most_layers, path=f"{full_name}.")
        if isinstance(value, bool) or not isinstance(value, int):
            continue
        most = most_layers if _REPEATS.search(name) else _LARGEST_SIZE
        if abs(value) > most:
            raise CheckpointError(
                f"config.json: {full_name} is a number of {value.bit_length()} bits, expected at "
                f"most {most:,}; export the checkpoint again"
            )
