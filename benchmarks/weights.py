"""The shipped checkpoint as plain transformers models with the same weights, for the peers."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from schemas.tasks import Task
from worker.checkpoint.folder import CONFIG, WEIGHTS, read_manifest
from worker.decoding.cpu import HeadLayout, head_layout

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

_LAYER = re.compile(r"\.layer\.\d+\.")


@dataclass(frozen=True, slots=True)
class CheckpointShape:
    """The metadata of a checkpoint that peers need."""

    folder: Path
    tasks: Sequence[Task]
    layout: HeadLayout
    max_pieces: int
    hidden: int
    intermediate: int
    layers: int
    parameters: int


def checkpoint_shape(folder: Path) -> CheckpointShape:
    """Read a checkpoint's manifest, configuration and the sizes of its weights.

    `parameters` counts the encoder's matrix parameters: those of its layers.
    """
    manifest = read_manifest(folder)
    config = json.loads((folder / CONFIG).read_text("utf-8"))
    tasks = manifest.task_records()
    return CheckpointShape(
        folder=folder,
        tasks=tasks,
        layout=head_layout(tasks),
        max_pieces=manifest.max_pieces,
        hidden=config["hidden_size"],
        intermediate=config["intermediate_size"],
        layers=config["num_hidden_layers"],
        parameters=layer_parameters(_tensor_shapes(folder / WEIGHTS)),
    )


def layer_parameters(shapes: Mapping[str, Sequence[int]]) -> int:
    """Return the number of parameters of the encoder's layers."""
    return sum(prod(shape) for name, shape in shapes.items() if _LAYER.search(name))


def all_heads_model(shape: CheckpointShape) -> "torch.nn.Module":
    """Return encoder and heads in fp32 without pubner's model code; the input is (ids, mask, case).

    The output is the logits of every word piece, shape (texts, pieces, tags).
    """
    import torch
    from transformers import AutoModel

    class AllHeads(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = AutoModel.from_config(_config(shape), add_pooling_layer=False)
            self.heads = torch.nn.Linear(shape.hidden, shape.layout.width)

        def forward(
            self, ids: torch.Tensor, mask: torch.Tensor, case: torch.Tensor
        ) -> torch.Tensor:
            found = self.encoder(input_ids=ids, attention_mask=mask, token_type_ids=case)
            logits: torch.Tensor = self.heads(found.last_hidden_state)
            return logits

    model = AllHeads()
    model.load_state_dict(_weights(shape))
    return model.eval()


def single_head_models(shape: CheckpointShape) -> "list[PreTrainedModel]":
    """Return one transformers token classifier per head, each with the whole encoder."""
    from transformers import BertForTokenClassification

    weights = _weights(shape)
    heads = weights.pop("heads.weight"), weights.pop("heads.bias")
    models: list[PreTrainedModel] = []
    for part in shape.layout.slices:
        config = _config(shape)
        names = dict(enumerate(shape.layout.tags[part]))
        config.num_labels = len(names)
        config.id2label = names
        config.label2id = {name: number for number, name in names.items()}
        model = BertForTokenClassification(config)
        own = {f"bert.{name.removeprefix('encoder.')}": value for name, value in weights.items()}
        own["classifier.weight"], own["classifier.bias"] = heads[0][part], heads[1][part]
        model.load_state_dict(own)
        models.append(model.eval())
    return models


def _config(shape: CheckpointShape) -> Any:
    from transformers import BertConfig

    return BertConfig(**json.loads((shape.folder / CONFIG).read_text("utf-8")))


def _weights(shape: CheckpointShape) -> "dict[str, torch.Tensor]":
    from safetensors.torch import load_file

    return {name: value.float() for name, value in load_file(shape.folder / WEIGHTS).items()}


def _tensor_shapes(path: Path) -> dict[str, Sequence[int]]:
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))
    return {name: entry["shape"] for name, entry in header.items() if name != "__metadata__"}
