"""Real, tiny, randomly initialised checkpoints: the code path of large ones, in an instant."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, PretrainedConfig

from schemas.manifest import CheckpointManifest, content_id
from schemas.tasks import TASKS
from training.finetune.export import export_checkpoint, fp16_weights
from training.recipes.recipe import Recipe
from worker.checkpoint.folder import (
    TOKENISER,
    WEIGHTS,
    file_digest,
    read_manifest,
    replace_manifest,
    task_entries,
)
from worker.decoding.cpu import head_layout
from worker.network.families import build_model
from worker.text.reading_table import reading_of
from worker.text.tokenisation import CASE_CLASSES, WordPieceTokeniser

_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def tiny_vocabulary() -> dict[str, int]:
    """Return a vocabulary of single characters and a few common word pieces."""
    characters = [chr(point) for point in range(33, 127) if not chr(point).isupper()]
    characters += list("αβγδκμé±–°ß中文")
    common = [
        "the",
        "of",
        "and",
        "in",
        "with",
        "was",
        "for",
        "disease",
        "cancer",
        "gene",
        "protein",
        "cell",
    ]
    suffixes = ["ing", "ed", "tion", "in", "er", "s", "ose", "ase", "oma", "itis", "emia"]
    pieces = [
        *_SPECIAL,
        *characters,
        *(f"##{character}" for character in characters),
        *common,
        *(f"##{suffix}" for suffix in suffixes),
    ]
    return {piece: number for number, piece in enumerate(dict.fromkeys(pieces))}


def tiny_tokenizer() -> Tokenizer:
    """Return an uncased WordPiece tokenizer laid out as BERT's."""
    vocabulary = tiny_vocabulary()
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.post_processor = processors.BertProcessing(
        ("[SEP]", vocabulary["[SEP]"]), ("[CLS]", vocabulary["[CLS]"])
    )
    tokenizer.add_special_tokens(list(_SPECIAL))
    return tokenizer


def tiny_config(*, layers: int = 2, width: int = 32, max_pieces: int = 128) -> BertConfig:
    """Return the configuration of a BERT of a few thousand weights."""
    return BertConfig(
        vocab_size=len(tiny_vocabulary()),
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=4,
        intermediate_size=2 * width,
        max_position_embeddings=max_pieces,
        type_vocab_size=CASE_CLASSES,
        pad_token_id=0,
    )


def tiny_checkpoint(
    folder: Path,
    *,
    tasks: Sequence[str] = ("ncbi-disease", "bc2gm"),
    seed: int = 0,
    letter_case: bool = True,
    max_pieces: int = 128,
    sharpness: float = 8.0,
    config: PretrainedConfig | None = None,
    reading: str | None = None,
) -> Path:
    """Export a tiny random checkpoint into `folder` and return the folder.

    `sharpness` scales the heads, so that a random model finds mentions now and then; `config` is
    that of another encoder than `tiny_config`'s, and `reading` names what it reads texts with.
    """
    records = [TASKS[name] for name in tasks]
    config = config or tiny_config(max_pieces=max_pieces)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = build_model(config, head_layout(records).width)
        with torch.no_grad():
            model.heads.weight.mul_(sharpness)
            model.heads.bias[torch.from_numpy(head_layout(records).outside_tags)] = 1.0
    export_checkpoint(
        folder,
        weights=fp16_weights(model),
        tokeniser=WordPieceTokeniser(
            tiny_tokenizer(), None if reading is None else reading_of(reading)
        ),
        config=config,
        tasks=records,
        recipe=Recipe("tiny", letter_case=letter_case, max_pieces=max_pieces),
        encoder_source="random weights",
        corpora=(),
        metrics={},
    )
    return folder


def without_heads(source: Path, folder: Path, names: Sequence[str]) -> Path:
    """Copy a checkpoint into `folder` without the heads `names`; return the folder."""
    manifest = read_manifest(source)
    tasks = manifest.task_records()
    kept = [task for task in tasks if task.name not in names]
    rows = [
        row
        for task, part in zip(tasks, head_layout(tasks).slices, strict=True)
        if task in kept
        for row in range(part.start, part.stop)
    ]
    shutil.copytree(source, folder)
    weights = load_file(source / WEIGHTS)
    for name in ("heads.weight", "heads.bias"):
        weights[name] = weights[name][rows].contiguous()
    save_file(weights, folder / WEIGHTS)
    calibration = {x: y for x, y in manifest.calibration.items() if x not in names}
    sign_again(folder, tasks=task_entries(kept), calibration=calibration, reference=None)
    return folder


def with_panicking_tokeniser(folder: Path) -> Path:
    """Give the checkpoint a tokeniser whose library panics on longer texts; return the folder."""
    values = json.loads((folder / TOKENISER).read_text("utf-8"))
    values["pre_tokenizer"] = {
        "type": "Split",
        "pattern": {"Regex": "(x+x+)+y|([A-Za-z ]+)*!"},
        "behavior": "Isolated",
        "invert": False,
    }
    (folder / TOKENISER).write_text(json.dumps(values), "utf-8")
    sign_again(folder)
    return folder


def sign_again(path: Path, **changes: Any) -> None:
    """Give the folder a manifest that fits its files, with `changes`."""
    old = read_manifest(path, verify=False)
    manifest = old.model_copy(update=changes)
    files = {name: file_digest(path / name) for name in manifest.files}
    manifest = CheckpointManifest.model_validate(
        manifest.model_copy(
            update={
                "files": files,
                "id": content_id(
                    files,
                    manifest.tasks,
                    letter_case=manifest.letter_case,
                    max_pieces=manifest.max_pieces,
                    calibration=manifest.calibration,
                    reading=manifest.reading,
                ),
            }
        ).model_dump()
    )
    replace_manifest(path, manifest)
