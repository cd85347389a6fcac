"""The transformers `token-classification` pipeline: as a user would call it, and at its best."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedTokenizerFast, pipeline

from benchmarks.weights import CheckpointShape, single_head_models
from worker.checkpoint.folder import TOKENISER
from worker.network.encoder import choose_precision

BATCH_TEXTS = 16


def load(
    shape: CheckpointShape, *, device: str, threads: int, models: Path
) -> Mapping[str, Callable[[Sequence[str]], object]]:
    """Return the rows `hf-default` and `hf-best`."""
    torch.set_num_threads(threads)
    place = torch.device(device)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_file=str(shape.folder / TOKENISER),
        model_max_length=shape.max_pieces,
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        unk_token="[UNK]",
    )

    def pipes(dtype: torch.dtype) -> list[Any]:
        models: list[Any] = list(single_head_models(shape))
        return [
            pipeline("token-classification", model=model, tokenizer=tokenizer, device=place)
            for model in (model.to(dtype) for model in models)
        ]

    plain, fast = pipes(torch.float32), pipes(choose_precision("auto", place))

    def default(texts: Sequence[str]) -> object:
        return [pipe(list(texts)) for pipe in plain]

    def best(texts: Sequence[str]) -> object:
        ordered = sorted(texts, key=len, reverse=True)
        return [pipe(ordered, batch_size=BATCH_TEXTS) for pipe in fast]

    return {"hf-default": default, "hf-best": best}
