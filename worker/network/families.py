"""The table of encoder families, and those that other packages add to it."""

from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final

from torch import nn
from transformers import CONFIG_MAPPING, PretrainedConfig

from schemas.errors import CheckpointError
from worker.network.bert import BertFamily
from worker.network.family import EncoderFamily
from worker.network.model import MultiHeadModel, in_one_line
from worker.network.transformers_family import TransformersFamily
from worker.system.plugins import REMEDY, described, load_plugin

ENTRY_POINTS: Final = "pubner.encoder_families"
"""The group of entry points with which an installed package adds families: classes."""

FAMILIES: Final[tuple[EncoderFamily, ...]] = (BertFamily(), TransformersFamily())
"""The built-in families; the first that supports a configuration is taken."""


def family_of(config: PretrainedConfig) -> EncoderFamily:
    """Return the family of an encoder.

    :raises CheckpointError: if there is none, or a package's family cannot be loaded.
    """
    family = _find(config)
    if family is None:
        raise CheckpointError(
            f"no encoder family supports the model type {config.model_type!r:.100}: transformers "
            "does not know it, nor does an installed package"
        )
    return family


def _find(config: PretrainedConfig) -> EncoderFamily | None:
    """Return the family of an encoder; packages are asked only if no built-in one supports it."""
    for family in FAMILIES:
        if family.is_supported(config):
            return family
    for point in sorted(entry_points(group=ENTRY_POINTS), key=lambda point: point.name):
        family = _load(point)
        if family.is_supported(config):
            return family
    return None


def _load(point: EntryPoint) -> EncoderFamily:
    kind = load_plugin(point, CheckpointError)
    try:
        family: EncoderFamily = kind()
    except Exception as error:  # a package's own code
        raise CheckpointError(
            f"{described(point)} cannot be made: {type(error).__name__}: {in_one_line(error)}; "
            f"{REMEDY}"
        ) from error
    return family


def foreign_config(values: Mapping[str, Any]) -> PretrainedConfig | None:
    """Return the configuration in a `config.json` of a package's family; None if it is not one.

    :raises CheckpointError: if a package's family cannot be loaded.
    """
    model_type = values.get("model_type")
    if not isinstance(model_type, str) or model_type in CONFIG_MAPPING:
        return None
    config = PretrainedConfig(**{n: v for n, v in values.items() if n != "model_type"})
    config.model_type = model_type  # type: ignore[misc] # of this instance alone
    return None if _find(config) is None else config


def build_model(config: PretrainedConfig, tags: int, *, dropout: float = 0.0) -> MultiHeadModel:
    """Build the model of `config` with random weights.

    :raises CheckpointError: if the configuration is not supported.
    """
    encoder: nn.Module = family_of(config).build(config)
    return MultiHeadModel(encoder, int(config.hidden_size), tags, dropout)
