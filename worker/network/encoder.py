"""Loading of a checkpoint's encoder and heads onto a device, and scoring of packed batches."""

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from transformers import PretrainedConfig

from schemas.errors import CheckpointError, SettingsError
from schemas.manifest import CheckpointManifest, DriftReference, HeadCalibration
from schemas.tasks import Task
from worker.checkpoint.files import read_bounded, weight_shapes
from worker.checkpoint.folder import CONFIG, TOKENISER, WEIGHTS, read_manifest
from worker.decoding.calibration import scale_heads
from worker.decoding.cpu import head_layout
from worker.network.config import load_config
from worker.network.families import family_of
from worker.network.family import Network, NetworkOptions
from worker.network.memory import keep_freed_memory
from worker.network.processor import processor_prefers_bf16
from worker.network.thread_pool import make_thread_pool
from worker.text.packing import PackedBatch, RowGrid
from worker.text.tokenisation import CASE_CLASSES, WordPieceTokeniser, load_tokeniser

_LEAST_PIECES: Final = 8
"""The least supported window length in word pieces."""
PRECISIONS = ("auto", "fp32", "bf16")


class Encoder:
    """A verified checkpoint on its device. Immutable; safe to share between threads."""

    def __init__(
        self,
        network: Network,
        tokeniser: WordPieceTokeniser,
        *,
        checkpoint_id: str,
        tasks: Sequence[Task],
        max_pieces: int,
        device: torch.device,
        threads: int | None = None,
        calibration: Mapping[str, HeadCalibration] | None = None,
        reference: DriftReference | None = None,
    ) -> None:
        """Combine the parts; `network` must already include the temperatures of `calibration`."""
        self.calibration = dict(calibration or {})
        self.reference = reference
        self.tokeniser = tokeniser
        self.checkpoint_id = checkpoint_id
        self.tasks = tuple(tasks)
        self.max_pieces = max_pieces
        self.device = device
        self._network = network
        # On a GPU one thread launches the work; on a CPU each core computes batches of its own.
        count = 1 if device.type == "cuda" else threads or torch.get_num_threads()
        self._thread_pool = make_thread_pool(count)

    @property
    def grid(self) -> RowGrid:
        """The padding policy for this encoder's batches."""
        return self._network.grid

    def begin(self, batches: Iterable[PackedBatch]) -> list[Future[Tensor]]:
        """Start to score the selected pieces of batches; each result (selected, tags), float32.

        The scores are on the device; on a GPU a future may complete before its kernels have run.
        All callers share one thread pool: each computing thread has its own PyTorch helper threads,
        which spin while idle, so that a runner that annotates several bundles at once was three
        times as slow.
        """
        return [self._thread_pool.submit(self._score, batch) for batch in batches]

    def _score(self, batch: PackedBatch) -> Tensor:
        with torch.inference_mode():
            return self._network(batch)


def choose_device(name: str) -> torch.device:
    """Return the device called `name`; `auto` is a GPU if there is one, else the CPU.

    :raises SettingsError: if it is not a device name, or the device is not available.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise SettingsError(f"no device {name!r}: expected auto, cpu, cuda or cuda:N") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise SettingsError(
            f"device {name!r} requested, but this machine has no usable GPU; use cpu"
        )
    return device


def choose_precision(name: str, device: torch.device) -> torch.dtype:
    """Return fp32 or bf16; `auto` is bf16 if the device multiplies it faster.

    :raises SettingsError: if it is not the name of a precision.
    """
    if name not in PRECISIONS:
        raise SettingsError(f"no precision {name!r}: expected one of {', '.join(PRECISIONS)}")
    if name == "auto":
        native = (
            torch.cuda.is_bf16_supported() if device.type == "cuda" else processor_prefers_bf16()
        )
        name = "bf16" if native else "fp32"
    return torch.bfloat16 if name == "bf16" else torch.float32


def load_encoder(
    path: Path,
    *,
    device: str = "auto",
    threads: int | None = None,
    precision: str = "auto",
    calibrated: bool = True,
    manifest: CheckpointManifest | None = None,
) -> Encoder:
    """Load the checkpoint in the folder `path` after verifying every file.

    :param calibrated: False ignores the calibration in the manifest
    :param manifest: the manifest, if it was read and its files were verified already
    :raises CheckpointError: if it is missing, altered, or contradicts its manifest.
    :raises SettingsError: if the device or precision is not available.
    """
    manifest = manifest or read_manifest(path)
    if manifest.kind != "encoder":
        raise CheckpointError(
            f"checkpoint {path} is of kind {manifest.kind!r}; this version reads 'encoder'"
        )
    chosen_device = choose_device(device)
    if chosen_device.type == "cpu":
        keep_freed_memory()
    for name in (CONFIG, WEIGHTS, TOKENISER):
        if name not in manifest.files:
            raise CheckpointError(
                f"checkpoint {path}: the manifest lists no {name}; export the checkpoint again"
            )
    shapes = weight_shapes(path / WEIGHTS)
    layout = head_layout(manifest.task_records())
    width = layout.width
    try:
        config = load_config(read_bounded(path / CONFIG), shapes)
        _check(path, manifest, config.to_dict(), width, shapes)
        check_fit(config, shapes, width)
    except CheckpointError as error:
        if str(path) in str(error):
            raise
        raise CheckpointError(f"checkpoint {path}: {error}") from error
    tokeniser = load_tokeniser(path / TOKENISER, manifest.reading)
    if tokeniser.vocabulary_size > int(config.vocab_size):
        raise CheckpointError(
            f"checkpoint {path}: the tokeniser has {tokeniser.vocabulary_size} word pieces, the "
            f"encoder {config.vocab_size}; they do not belong together"
        )
    try:
        weights = load_file(path / WEIGHTS)
    except (ValueError, SafetensorError) as error:
        raise CheckpointError(f"checkpoint {path} cannot be read: {error}") from error
    calibration = manifest.calibration if calibrated else {}
    weights = scale_heads(weights, layout, calibration)
    options = NetworkOptions(
        tokeniser.pad_id,
        manifest.letter_case,
        chosen_device,
        choose_precision(precision, chosen_device),
    )
    try:
        network = family_of(config).network(weights, config, options)
    except CheckpointError as error:
        raise CheckpointError(f"checkpoint {path}: {error}") from error
    return Encoder(
        network,
        tokeniser,
        checkpoint_id=manifest.id,
        tasks=manifest.task_records(),
        max_pieces=manifest.max_pieces,
        device=chosen_device,
        threads=threads,
        calibration=calibration,
        reference=manifest.reference,
    )


def check_fit(config: PretrainedConfig, shapes: Mapping[str, tuple[int, ...]], tags: int) -> None:
    """Check that weights of these shapes match exactly an encoder of `config` with `tags` tags.

    No memory for the encoder is allocated.

    :raises CheckpointError: if they do not, or the configuration is invalid.
    """
    expected = family_of(config).weight_shapes(config, tags)
    wrong = sorted(
        name for name in expected.keys() | shapes.keys() if expected.get(name) != shapes.get(name)
    )
    if wrong:
        name = wrong[0]
        raise CheckpointError(
            f"weights do not fit config.json: {name} has the shape "
            f"{shapes.get(name, 'of nothing')}, expected {expected.get(name, 'no such weight')}"
            + (f" (and {len(wrong) - 1} more)" if wrong[1:] else "")
        )


def _check(
    path: Path,
    manifest: CheckpointManifest,
    config: dict[str, object],
    width: int,
    shapes: Mapping[str, tuple[int, ...]],
) -> None:
    """Check that weights, configuration and manifest agree on the heads and inputs."""
    heads = shapes.get("heads.weight")
    if not heads or heads[0] != width:
        found = "none" if not heads else f"{heads[0]}"
        names = ", ".join(task.name for task in manifest.tasks)
        raise CheckpointError(
            f"checkpoint {path}: the manifest lists the heads {names} ({width} tags), the weights "
            f"hold {found} tags; a head is missing, export the checkpoint again"
        )
    if manifest.letter_case and config.get("type_vocab_size") != CASE_CLASSES:
        raise CheckpointError(
            f"checkpoint {path}: the manifest says that the encoder reads letter case, but it has "
            f"{config.get('type_vocab_size')} token types, expected {CASE_CLASSES}"
        )
    if manifest.max_pieces < _LEAST_PIECES:
        raise CheckpointError(
            f"checkpoint {path}: max_pieces is {manifest.max_pieces}, expected at least "
            f"{_LEAST_PIECES}"
        )
    longest = config.get("max_position_embeddings")
    if isinstance(longest, int) and manifest.max_pieces > longest:
        raise CheckpointError(
            f"checkpoint {path}: max_pieces is {manifest.max_pieces}, the encoder reads {longest}"
        )
