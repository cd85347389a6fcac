"""What training starts from: the packaged MiniLM, a folder, a hub id, or a pubner checkpoint."""

import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModel, AutoTokenizer, PretrainedConfig
from transformers.utils import logging as transformers_logging

from schemas.errors import TrainingError
from schemas.tasks import Task
from training.encoder_names import MINILM, PRETRAINING, encoder_folder
from training.recipe import Recipe
from worker.checkpoint import MANIFEST, TOKENISER, WEIGHTS, file_digest, read_manifest
from worker.decoding import head_layout
from worker.model import MultiHeadModel, build_model, read_config, use_case_classes
from worker.reading import NEWEST
from worker.tokenisation import WordPieceTokeniser, load_tokeniser

_MINILM_SOURCE = "sentence-transformers/all-MiniLM-L6-v2 (Apache-2.0)"

LETTER_CASE = "letter_case"
"""The key of an encoder's `config.json` that says that its token types are letter-case classes."""


@dataclass(frozen=True, slots=True, eq=False)
class StartingPoint:
    """A pretrained encoder with fresh heads, its tokeniser and configuration; `source` names it."""

    model: MultiHeadModel
    tokeniser: WordPieceTokeniser
    config: PretrainedConfig
    source: str


def load_encoder(name: str, recipe: Recipe, tasks: Sequence[Task]) -> StartingPoint:
    """Load the encoder `name` and put the heads of `tasks` on it.

    :param name: `minilm`, a folder in transformers' layout, a hub id (which is downloaded), or the
        folder of a pubner checkpoint, whose heads are kept where they have the same labels
    :raises TrainingError: if it cannot be loaded, is no safetensors file, or does not fit the
        recipe.
    :raises CheckpointError: if it is a checkpoint that was altered.
    """
    tags = head_layout(tasks).width
    folder = encoder_folder(name)
    if folder is not None and (folder / MANIFEST).is_file():
        return _from_checkpoint(folder, recipe, tasks)
    start = load_pretrained(
        name,
        dropout=recipe.dropout,
        attention_dropout=recipe.attention_dropout,
        letter_case=recipe.letter_case,
        max_pieces=recipe.max_pieces,
    )
    model = MultiHeadModel(start.encoder, int(start.config.hidden_size), tags, recipe.dropout)
    _fresh_heads(model, start.config)
    return StartingPoint(model, start.tokeniser, start.config, start.source)


@dataclass(frozen=True, slots=True, eq=False)
class Pretrained:
    """A pretrained encoder without heads, its tokeniser and configuration; `source` names it."""

    encoder: torch.nn.Module
    tokeniser: WordPieceTokeniser
    config: PretrainedConfig
    source: str


def load_pretrained(
    name: str, *, dropout: float, attention_dropout: float, letter_case: bool, max_pieces: int
) -> Pretrained:
    """Load the encoder `name` in fp32; with `letter_case` it reads case classes as token types.

    :param name: `minilm`, a folder in transformers' layout, or a hub id (which is downloaded)
    :raises TrainingError: if it cannot be loaded, is no safetensors file, is read with
        `max_pieces` too many, or was pretrained with letter case and is to be read without.
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
            "hidden_dropout_prob": dropout,
            "attention_probs_dropout_prob": attention_dropout,
        }
        for key, value in settings.items():
            if hasattr(config, key):
                setattr(config, key, value)
        knows_case = bool(getattr(config, LETTER_CASE, False))
        if knows_case:
            # The checkpoints made from it say so in their manifests.
            delattr(config, LETTER_CASE)
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
    if knows_case and not letter_case:
        raise TrainingError(
            f"the encoder {name!r} was pretrained with letter case, the recipe reads without; take "
            "a recipe with letter_case, or an encoder pretrained with --no-letter-case"
        )
    if letter_case and not knows_case:
        use_case_classes(encoder, config)
    longest = getattr(config, "max_position_embeddings", max_pieces)
    if max_pieces > longest:
        raise TrainingError(f"the recipe's max_pieces is {max_pieces}, the encoder reads {longest}")
    return Pretrained(encoder, _tokeniser(where, folder), config, _source(name, folder))


def _source(name: str, folder: Path | None) -> str:
    """Say what an encoder is; of one that was pretrained here, what it was made from and how."""
    if name == MINILM:
        return _MINILM_SOURCE
    if folder is None or not (folder / PRETRAINING).is_file():
        return name
    try:
        values = json.loads((folder / PRETRAINING).read_text("utf-8"))
        source, expected = str(values["source"]), values["files"][WEIGHTS]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TrainingError(
            f"{folder / PRETRAINING} cannot be read ({type(error).__name__}: {error}); it says "
            "what the encoder was made from: copy it again"
        ) from error
    found = file_digest(folder / WEIGHTS)
    if found != expected:
        raise TrainingError(
            f"the encoder {name!r}: {WEIGHTS} is not what {PRETRAINING} says (SHA-256 "
            f"{found[:12]}…, expected {str(expected)[:12]}…); copy it again"
        )
    return source


def _fresh_heads(model: MultiHeadModel, config: PretrainedConfig) -> None:
    torch.nn.init.normal_(model.heads.weight, std=float(getattr(config, "initializer_range", 0.02)))
    torch.nn.init.zeros_(model.heads.bias)


def _from_checkpoint(folder: Path, recipe: Recipe, tasks: Sequence[Task]) -> StartingPoint:
    """Go on from a checkpoint: its encoder, and its heads where the labels are the same."""
    manifest = read_manifest(folder)
    if manifest.letter_case != recipe.letter_case or recipe.max_pieces > manifest.max_pieces:
        raise TrainingError(
            f"the checkpoint {folder} has letter_case {manifest.letter_case} and max_pieces "
            f"{manifest.max_pieces}, the recipe {recipe.letter_case} and {recipe.max_pieces}; "
            "take a recipe that fits it"
        )
    config = read_config(folder)
    config.hidden_dropout_prob = recipe.dropout
    config.attention_probs_dropout_prob = recipe.attention_dropout
    layout, known = head_layout(tasks), head_layout(manifest.task_records())
    model = build_model(config, layout.width, dropout=recipe.dropout)
    _fresh_heads(model, config)
    weights = {name: tensor.float() for name, tensor in load_file(folder / WEIGHTS).items()}
    heads = {name: weights.pop(f"heads.{name}") for name in ("weight", "bias")}
    kept = model.state_dict()
    for task, part in zip(known.tasks, known.slices, strict=True):
        for own, place in zip(layout.tasks, layout.slices, strict=True):
            if own == task:
                for name, tensor in heads.items():
                    kept[f"heads.{name}"][place] = tensor[part]
    model.load_state_dict(kept | weights)
    tokeniser = load_tokeniser(folder / TOKENISER, NEWEST)
    source = f"checkpoint {manifest.id}, made from {manifest.encoder_source}"
    return StartingPoint(model, tokeniser, config, source)


def encoder_tokeniser(name: str) -> WordPieceTokeniser:
    """Return the tokeniser of the encoder `name`, without loading its weights."""
    folder = encoder_folder(name)
    return _tokeniser(str(folder or name), folder)


def _tokeniser(where: str, folder: Path | None) -> WordPieceTokeniser:
    if folder is not None and (folder / TOKENISER).is_file():
        return load_tokeniser(folder / TOKENISER, NEWEST)
    # A folder or hub id with vocab.txt alone: let transformers build the fast tokeniser.
    with tempfile.TemporaryDirectory() as scratch:
        AutoTokenizer.from_pretrained(where).save_pretrained(scratch)
        return load_tokeniser(Path(scratch) / TOKENISER, NEWEST)


def config_values(config: PretrainedConfig) -> dict[str, Any]:
    """Return the part of a configuration that a checkpoint keeps, as JSON values."""
    values: dict[str, Any] = json.loads(config.to_json_string(use_diff=True))
    values["model_type"] = config.model_type
    for key in ("_name_or_path", "architectures", "dtype", "torch_dtype"):
        values.pop(key, None)
    return values
