"""Loading of encoders: the packaged MiniLM, a folder, a hub id, or a pubner checkpoint."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModel, PretrainedConfig
from transformers.utils import logging as transformers_logging

from schemas.errors import CheckpointError, PubnerError, TrainingError
from schemas.tasks import Task
from training.encoders.files import (
    Header,
    check_layers,
    check_whole,
    fetch_encoder,
    local_encoder,
    read_headers,
    read_json,
    weight_files,
)
from training.encoders.names import MINILM, PRETRAINING, encoder_folder
from training.encoders.tokeniser import check_fits, read_tokeniser
from training.recipes.recipe import Recipe
from worker.checkpoint.folder import (
    CONFIG,
    MANIFEST,
    TOKENISER,
    WEIGHTS,
    file_digest,
    read_manifest,
)
from worker.decoding.cpu import head_layout
from worker.network.config import read_config
from worker.network.families import (
    build_model,
    family_of,
    foreign_config,
)
from worker.network.model import MultiHeadModel, use_case_classes
from worker.network.transformers_family import model_options
from worker.text.reading_table import NEWEST
from worker.text.tokenisation import WordPieceTokeniser, load_tokeniser

_MINILM_SOURCE = "sentence-transformers/all-MiniLM-L6-v2 (Apache-2.0)"

LETTER_CASE = "letter_case"
"""The key in an encoder's `config.json` that marks its token types as letter-case classes."""


_SMALL = 1_000_000
"""Networks up to this many weights are built without comparing them with the files first."""


@dataclass(frozen=True, slots=True, eq=False)
class StartingPoint:
    """A pretrained encoder with its heads, tokeniser and configuration; `source` describes it."""

    model: MultiHeadModel
    tokeniser: WordPieceTokeniser
    config: PretrainedConfig
    source: str


def load_encoder(name: str, recipe: Recipe, tasks: Sequence[Task]) -> StartingPoint:
    """Load the encoder `name` and add the heads of `tasks`.

    :param name: `minilm`, a folder in transformers' layout, a hub id (which is downloaded), or the
        folder of a pubner checkpoint, whose heads are kept where they have the same labels
    :raises TrainingError: if it cannot be loaded, is not in safetensors, or does not fit the
        recipe.
    :raises CheckpointError: if it is a checkpoint whose files do not match its manifest.
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
    """A pretrained encoder without heads, its tokeniser, configuration and `source`."""

    encoder: torch.nn.Module
    tokeniser: WordPieceTokeniser
    config: PretrainedConfig
    source: str


def load_pretrained(
    name: str, *, dropout: float, attention_dropout: float, letter_case: bool, max_pieces: int
) -> Pretrained:
    """Load the encoder `name` in fp32; with `letter_case` it reads case classes as token types.

    :param name: `minilm`, a folder in transformers' layout, or a hub id (which is downloaded)
    :raises TrainingError: if it cannot be loaded, a tensor is missing or not finite, its tokeniser
        is missing or belongs to another encoder, `max_pieces` exceeds its position embeddings, or
        it was pretrained with letter case and `letter_case` is false.
    """
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    folder = _folder(name)
    headers = read_headers(folder)
    check_layers(folder, headers)
    try:
        config = _read_config(folder)
        settings: dict[str, Any] = {
            "hidden_dropout_prob": dropout,
            "attention_probs_dropout_prob": attention_dropout,
        }
        for key, value in settings.items():
            if hasattr(config, key):
                setattr(config, key, value)
        knows_case = bool(getattr(config, LETTER_CASE, False))
        if knows_case:
            # Recorded in the manifests of checkpoints made from it.
            delattr(config, LETTER_CASE)
        encoder = _load_weights(folder, config, headers)
    except PubnerError:
        raise
    except Exception as error:  # the libraries raise many types of errors
        reason = str(error).strip().splitlines()[0] if str(error).strip() else "unreadable"
        raise TrainingError(
            f"the encoder {name!r} cannot be loaded: {type(error).__name__}: {reason[:300]}"
        ) from error
    if knows_case and not letter_case:
        raise TrainingError(
            f"the encoder {name!r} was pretrained with letter case, the recipe reads without; take "
            "a recipe with letter_case, or an encoder pretrained with --no-letter-case"
        )
    if letter_case and not knows_case:
        use_case_classes(encoder, config)
    longest = _longest(encoder, config) or max_pieces
    if max_pieces > longest:
        raise TrainingError(f"the recipe's max_pieces is {max_pieces}, the encoder reads {longest}")
    tokeniser = read_tokeniser(folder)
    check_fits(folder, tokeniser, int(config.vocab_size))
    return Pretrained(encoder, tokeniser, config, _source(name, folder))


def _read_config(folder: Path) -> PretrainedConfig:
    foreign = foreign_config(read_json(folder / CONFIG))
    if foreign is not None:
        return foreign
    config: PretrainedConfig = AutoConfig.from_pretrained(
        str(folder), trust_remote_code=False, local_files_only=True
    )
    return config


def _longest(encoder: torch.nn.Module, config: PretrainedConfig) -> int | None:
    """Return how many word pieces the encoder reads at once; None if it has no limit."""
    rows: int | None = getattr(config, "max_position_embeddings", None)
    table = getattr(getattr(encoder, "embeddings", None), "position_embeddings", None)
    offset = getattr(table, "padding_idx", None)
    # RoBERTa and MPNet count positions from after the padding piece's id.
    return rows if rows is None or offset is None else rows - offset - 1


def _folder(name: str) -> Path:
    """Return the folder of the encoder `name`, downloaded if it is a hub id.

    :raises TrainingError: if there is none.
    """
    folder = local_encoder(name)
    return fetch_encoder(name) if folder is None else folder


def _load_weights(
    folder: Path, config: PretrainedConfig, headers: Mapping[str, Header]
) -> torch.nn.Module:
    """Load an encoder's network, with every tensor from its files.

    :raises TrainingError: if a tensor is missing, has another shape, or is not finite.
    """
    known = type(config) is not PretrainedConfig
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        skeleton: Any = (
            AutoModel.from_config(config, trust_remote_code=False, **model_options(config))
            if known
            else family_of(config).build(config)
        )
    prefix = f"{getattr(skeleton, 'base_model_prefix', 'encoder')}."
    expected = {name: tuple(tensor.shape) for name, tensor in skeleton.state_dict().items()}
    size = sum(map(math.prod, expected.values()))
    stored_size = sum(math.prod(header.shape) for header in headers.values())
    if size > 2 * stored_size + _SMALL:
        # Not built, since it may be of any size.
        named = {name.removeprefix(prefix): header.shape for name, header in headers.items()}
        wrong = {
            n: (named[n], expected[n])
            for n in expected
            if named.get(n) != expected[n] and n in named
        }
        check_whole(folder, headers, expected, expected.keys() - named.keys(), (), wrong, prefix)
        raise TrainingError(
            f"the encoder {folder} is not what its {CONFIG} says: that describes {size:,} weights, "
            f"and its files hold {stored_size:,}"
        )
    if known:
        encoder, found = AutoModel.from_pretrained(
            str(folder),
            config=config,
            use_safetensors=True,
            dtype=torch.float32,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
            local_files_only=True,
            trust_remote_code=False,
            **model_options(config),
        )
    else:
        encoder, found = _fill(family_of(config).build(config), folder, prefix)
    check_whole(
        folder,
        headers,
        expected,
        found["missing_keys"],
        found["unexpected_keys"],
        {name: (tuple(had), tuple(wants)) for name, had, wants in found["mismatched_keys"]},
        prefix,
    )
    _require_numbers(folder, encoder.state_dict())
    return cast("torch.nn.Module", encoder)


def _fill(
    encoder: torch.nn.Module, folder: Path, prefix: str
) -> tuple[torch.nn.Module, dict[str, Any]]:
    """Load the weights in `folder` into an encoder; return what does not fit as transformers does.

    Weights may be missing only where the caller refuses it.
    """
    tensors = {
        name.removeprefix(prefix): tensor.float()
        for path in weight_files(folder)
        for name, tensor in load_file(path).items()
    }
    own = encoder.state_dict()
    mismatched = [
        (name, tuple(tensors[name].shape), tuple(own[name].shape))
        for name in own.keys() & tensors.keys()
        if tensors[name].shape != own[name].shape
    ]
    if not mismatched:
        encoder.load_state_dict(tensors, strict=False)
    return encoder, {
        "missing_keys": own.keys() - tensors.keys(),
        "unexpected_keys": tensors.keys() - own.keys(),
        "mismatched_keys": mismatched,
    }


def _require_numbers(folder: Path, tensors: Mapping[str, torch.Tensor]) -> None:
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise TrainingError(
                f"the encoder {folder}: the tensor {name} holds non-finite values (NaN or "
                "infinite); copy it again, or use weights from before training diverged"
            )


def _source(name: str, folder: Path | None) -> str:
    """Return the provenance of an encoder; for one adapted by pubner, from its record."""
    if name == MINILM:
        return _MINILM_SOURCE
    if folder is None or not (folder / PRETRAINING).is_file():
        return name
    try:
        values = json.loads((folder / PRETRAINING).read_text("utf-8"))
        source, expected = str(values["source"]), values["files"][WEIGHTS]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TrainingError(
            f"{folder / PRETRAINING} cannot be read ({type(error).__name__}: {error}); it records "
            "what the encoder was made from: copy it again"
        ) from error
    found = file_digest(folder / WEIGHTS)
    if found != expected:
        raise TrainingError(
            f"the encoder {name!r}: {WEIGHTS} does not match {PRETRAINING} (SHA-256 "
            f"{found[:12]}…, expected {str(expected)[:12]}…); copy it again"
        )
    return source


def _fresh_heads(model: MultiHeadModel, config: PretrainedConfig) -> None:
    torch.nn.init.normal_(model.heads.weight, std=float(getattr(config, "initializer_range", 0.02)))
    torch.nn.init.zeros_(model.heads.bias)


def _from_checkpoint(folder: Path, recipe: Recipe, tasks: Sequence[Task]) -> StartingPoint:
    """Start from a checkpoint: its encoder, and its heads whose labels are the same."""
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
    kept = model.state_dict()
    _require_checkpoint(folder, kept, weights, known.width)
    heads = {name: weights.pop(f"heads.{name}") for name in ("weight", "bias")}
    for task, part in zip(known.tasks, known.slices, strict=True):
        for own, place in zip(layout.tasks, layout.slices, strict=True):
            if own == task:
                for name, tensor in heads.items():
                    kept[f"heads.{name}"][place] = tensor[part]
    model.load_state_dict(kept | weights)
    tokeniser = load_tokeniser(folder / TOKENISER, NEWEST)
    check_fits(folder, tokeniser, int(config.vocab_size))
    source = f"checkpoint {manifest.id}, made from {manifest.encoder_source}"
    return StartingPoint(model, tokeniser, config, source)


def _require_checkpoint(
    folder: Path,
    expected: Mapping[str, torch.Tensor],
    found: Mapping[str, torch.Tensor],
    tags: int,
) -> None:
    """Check that a checkpoint has each tensor of its network, and heads of `tags` tags."""
    for name, tensor in expected.items():
        shape = (tags, *tensor.shape[1:]) if name.startswith("heads.") else tuple(tensor.shape)
        if name not in found:
            raise CheckpointError(f"the checkpoint {folder} lacks the tensor {name}; copy it again")
        if tuple(found[name].shape) != shape:
            raise CheckpointError(
                f"the checkpoint {folder}: {name} has the shape {list(found[name].shape)}, "
                f"expected {list(shape)}; export it again"
            )
    surplus = sorted(found.keys() - expected.keys())
    if surplus:
        raise CheckpointError(
            f"the checkpoint {folder} has a tensor {surplus[0]}, which its {CONFIG} leaves out; "
            "export it again"
        )
    _require_numbers(folder, found)


def encoder_tokeniser(name: str) -> WordPieceTokeniser:
    """Return the tokeniser of the encoder `name`, without loading its weights.

    :raises TrainingError: if there is no such encoder, or the tokeniser does not fit it.
    """
    folder = _folder(name)
    tokeniser = read_tokeniser(folder)
    check_fits(folder, tokeniser, int(read_json(folder / CONFIG).get("vocab_size", 0)))
    return tokeniser


def config_values(config: PretrainedConfig) -> dict[str, Any]:
    """Return the part of a configuration that a checkpoint stores, as JSON values."""
    values: dict[str, Any] = json.loads(config.to_json_string(use_diff=True))
    values["model_type"] = config.model_type
    for key in ("_name_or_path", "architectures", "dtype", "torch_dtype"):
        values.pop(key, None)
    return values
