"""Export of an adapted encoder: a folder in transformers' layout, with its provenance."""

import json
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from transformers import PretrainedConfig

from training.encoders.loading import LETTER_CASE, config_values
from training.encoders.names import PRETRAINING
from worker.checkpoint.folder import CONFIG, MODEL_FILES, TOKENISER, WEIGHTS, file_digest
from worker.storage.atomic import write_whole
from worker.text.tokenisation import WordPieceTokeniser


def export_encoder(
    folder: Path,
    encoder: torch.nn.Module,
    tokeniser: WordPieceTokeniser,
    config: PretrainedConfig,
    *,
    letter_case: bool,
    half: bool,
    record: Mapping[str, Any],
) -> None:
    """Write an encoder, without its masked-language-model head, into `folder`.

    Its weights are fp32, or fp16 with `half`. `record` describes how it was trained; with the
    files' digests and the libraries' versions it becomes `pretraining.json`, which is written last:
    a folder that has one is complete.
    """
    folder.mkdir(parents=True, exist_ok=True)
    kind = torch.float16 if half else torch.float32
    weights = {
        name: tensor.detach().to("cpu", kind).contiguous()
        for name, tensor in encoder.state_dict().items()
        if tensor.is_floating_point()
    }
    save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})
    (folder / WEIGHTS).chmod(0o644)  # the library writes it for its owner alone
    values = config_values(config) | {"architectures": [type(encoder).__name__]}
    if letter_case:
        values[LETTER_CASE] = True
    (folder / CONFIG).write_text(json.dumps(values, indent=2, sort_keys=True) + "\n", "utf-8")
    tokeniser.save(folder / TOKENISER)
    whole = {
        **record,
        "versions": {name: version(name) for name in ("torch", "transformers", "tokenizers")},
        "files": {name: file_digest(folder / name) for name in MODEL_FILES},
    }
    write_whole(folder / PRETRAINING, json.dumps(whole, indent=2, ensure_ascii=False) + "\n")
