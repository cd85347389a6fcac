"""Export of trained weights as a checkpoint: fp16 safetensors, tokeniser, config, manifest last."""

import copy
import json
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from transformers import PretrainedConfig

from schemas.manifest import CheckpointManifest, CorpusEntry, HeadCalibration
from schemas.tasks import Task
from training.corpora.corpus import mention_count
from training.corpora.tsv import Sentence
from training.encoders.loading import config_values
from training.recipes.recipe import Recipe
from worker.checkpoint.folder import CONFIG, TOKENISER, WEIGHTS, write_manifest
from worker.network.model import MultiHeadModel
from worker.text.tokenisation import WordPieceTokeniser


def blend_weights(
    model: MultiHeadModel, origin: Mapping[str, torch.Tensor], fraction: float
) -> MultiHeadModel:
    """Return a copy of `model` whose weights are interpolated towards those of `origin`.

    A `fraction` of 0 gives `model` itself, 1 the weights of `origin`.
    """
    if not fraction:
        return model
    blended = copy.deepcopy(model)
    with torch.no_grad():
        for name, tensor in blended.state_dict().items():
            if tensor.is_floating_point():
                tensor.lerp_(origin[name].to(tensor.device), fraction)
    return blended


def fp16_weights(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Return the weights as fp16 tensors on the CPU, by name."""
    return {
        name: tensor.detach().to("cpu", torch.float16).contiguous()
        for name, tensor in model.state_dict().items()
        if tensor.is_floating_point()
    }


def corpus_entry(name: str, split: str, sha256: str, sentences: Sequence[Sentence]) -> CorpusEntry:
    """Describe a split with the digest `sha256` for the manifest."""
    return CorpusEntry(
        name=name,
        split=split,
        sha256=sha256,
        sentences=len(sentences),
        mentions=sum(mention_count(sentence) for sentence in sentences),
    )


def export_checkpoint(
    folder: Path,
    *,
    weights: Mapping[str, torch.Tensor],
    tokeniser: WordPieceTokeniser,
    config: PretrainedConfig,
    tasks: Sequence[Task],
    recipe: Recipe,
    encoder_source: str,
    corpora: Sequence[CorpusEntry],
    metrics: Mapping[str, Mapping[str, float]],
    calibration: Mapping[str, HeadCalibration] | None = None,
) -> CheckpointManifest:
    """Write a checkpoint into `folder`; the manifest, written last, makes it complete.

    :param calibration: how the scores of the heads become probabilities, by head
    """
    folder.mkdir(parents=True, exist_ok=True)
    save_file(dict(weights), folder / WEIGHTS)
    (folder / WEIGHTS).chmod(0o644)  # the library writes it for its owner alone
    values: dict[str, Any] = config_values(config)
    (folder / CONFIG).write_text(json.dumps(values, indent=2, sort_keys=True) + "\n", "utf-8")
    tokeniser.save(folder / TOKENISER)
    return write_manifest(
        folder,
        tasks=tasks,
        letter_case=recipe.letter_case,
        max_pieces=recipe.max_pieces,
        recipe=recipe.values(),
        encoder_source=encoder_source,
        corpora=corpora,
        metrics=metrics,
        versions={name: version(name) for name in ("torch", "transformers", "tokenizers")},
        calibration=calibration,
        reading=tokeniser.reading,
    )
