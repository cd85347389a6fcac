"""The network: one shared encoder, and all task heads as one matrix product.

Multi-task learning with a shared encoder follows Caruana 1997; a linear tagging head on BERT's last
layer follows Devlin et al. 2019.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NoReturn

import torch
from torch import Tensor, nn
from transformers import AutoConfig, PretrainedConfig

from schemas.errors import CheckpointError
from worker.checkpoint.files import CONFIG, WEIGHTS, read_bounded, weight_shapes
from worker.text.tokenisation import CASE_CLASSES

_UNREAD: Final = frozenset({"auto_map", "id2label", "label2id", "num_labels"})
_REPEATS: Final = re.compile(r"layer|block|group|expert|depth")
"""Matches the names of configuration values that are a number of repeated parts."""
_MOST_LAYERS: Final = 1024
_LARGEST_SIZE: Final = 10_000_000


class MultiHeadModel(nn.Module):
    """An encoder with one linear layer over the concatenated tags of all heads.

    `encoder` is any transformers encoder without a pooler; `tags` the number of tags of all
    heads together.
    """

    def __init__(self, encoder: nn.Module, hidden_size: int, tags: int, dropout: float) -> None:
        super().__init__()
        self.encoder = encoder
        self.dropout = nn.Dropout(dropout)
        self.heads = nn.Linear(hidden_size, tags)

    def hidden(self, ids: Tensor, mask: Tensor, case: Tensor | None) -> Tensor:
        """Encode padded word pieces.

        :param ids: vocabulary ids, special ones included, shape (texts, pieces), int64
        :param mask: true where a piece is not padding, same shape
        :param case: letter-case classes as token types, same shape, or None
        :returns: the last hidden states, shape (texts, pieces, hidden)
        """
        inputs: dict[str, Any] = {"input_ids": ids, "attention_mask": mask}
        if case is not None:
            inputs["token_type_ids"] = case
        states: Tensor = self.encoder(**inputs).last_hidden_state
        return states

    def forward(self, ids: Tensor, mask: Tensor, case: Tensor | None, select: Tensor) -> Tensor:
        """Score the tags of the selected pieces only.

        :param select: true at the pieces to score, shape (texts, pieces)
        :returns: logits, shape (selected pieces, tags), in row order
        """
        states = self.hidden(ids, mask, case)
        chosen = states.reshape(-1, states.shape[-1])[select.reshape(-1).nonzero().squeeze(1)]
        logits: Tensor = self.heads(self.dropout(chosen))
        return logits


def build_model(config: PretrainedConfig, tags: int, *, dropout: float = 0.0) -> MultiHeadModel:
    """Build the network of `config` with random weights.

    :raises CheckpointError: if transformers does not support the configuration.
    """
    from transformers import AutoModel  # slow to import, and not needed for inference with BERT

    try:
        try:
            encoder = AutoModel.from_config(
                config, add_pooling_layer=False, attn_implementation="sdpa"
            )
        except TypeError:  # an encoder that never had a pooler
            encoder = AutoModel.from_config(config, attn_implementation="sdpa")
    except Exception as error:  # each encoder raises its own exceptions for invalid values
        raise CheckpointError(
            f"transformers cannot build this encoder: {_in_one_line(error)}"
        ) from error
    return MultiHeadModel(encoder, int(config.hidden_size), tags, dropout)


def read_config(folder: Path) -> PretrainedConfig:
    """Return the configuration of the encoder in a checkpoint's folder.

    :raises CheckpointError: if it, or the weights, cannot be read.
    """
    return load_config(read_bounded(folder / CONFIG), weight_shapes(folder / WEIGHTS))


def use_case_classes(encoder: nn.Module, config: PretrainedConfig) -> None:
    """Let the encoder read letter-case classes as token types, in full_name.

    The token-type table is widened to `CASE_CLASSES` rows, each a copy of the pretrained row 0: the
    network starts with the pretrained output and learns the meaning of case.

    :raises CheckpointError: if the encoder has no token types.
    """
    embeddings = getattr(encoder, "embeddings", None)
    old = getattr(embeddings, "token_type_embeddings", None)
    if not isinstance(embeddings, nn.Module) or not isinstance(old, nn.Embedding):
        raise CheckpointError(
            f"the encoder {config.model_type!r} has no token types to carry letter case; "
            "train it without letter_case"
        )
    table = nn.Embedding(CASE_CLASSES, old.embedding_dim)
    with torch.no_grad():
        table.weight.copy_(old.weight[0].expand(CASE_CLASSES, -1))
    embeddings.token_type_embeddings = table
    config.type_vocab_size = CASE_CLASSES


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
        return AutoConfig.for_model(values.pop("model_type"), **values)
    except Exception as error:  # each configuration class raises its own exceptions
        raise CheckpointError(
            f"config.json names no encoder that transformers knows: {_in_one_line(error)}"
        ) from error


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number")


def _in_one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__


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
