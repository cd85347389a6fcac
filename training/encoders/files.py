"""The files of a pretrained encoder in transformers' layout: resolved, and checked before use.

The checks are needed since transformers silently initialises missing tensors at random, and
silently builds an empty tokeniser if its files are missing.
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from schemas.errors import TrainingError
from training.encoders.names import MINILM, encoder_folder
from worker.checkpoint.folder import CONFIG, MANIFEST, WEIGHTS

INDEX = f"{WEIGHTS}.index.json"
"""The index of sharded weights: the shard that holds each tensor."""

PICKLED = ("pytorch_model.bin", "pytorch_model.bin.index.json", "tf_model.h5", "flax_model.msgpack")

_HUB_FILES = ("*.json", "*.safetensors", "*.txt", "*.model")
_MOST_JSON = 32 << 20
"""The maximum size in bytes of a JSON file beside the weights."""

_FLOATS = ("F64", "F32", "F16", "BF16")
_SHOWN = 5
_ANY_SIZE = 10_000_000
"""Sizes in a configuration up to this are cheap to build, and are not checked beforehand."""

_LAYERS = ("num_hidden_layers", "n_layers")
_SIZES = ("vocab_size", "hidden_size", "dim", "intermediate_size", "hidden_dim", "embedding_size")


@dataclass(frozen=True, slots=True)
class Header:
    """The header entry of one tensor in a weights file: its safetensors type name and its shape."""

    kind: str
    shape: tuple[int, ...]


def check_encoder(name: str) -> None:
    """Check the encoder `name` as far as possible without importing torch and transformers.

    :raises TrainingError: if it is neither a folder nor a possible hub id, or its folder lacks a
        file.
    :raises MissingPackageError: if `minilm` is asked for and its package is not installed.
    """
    folder = local_encoder(name)
    if folder is not None and not (folder / MANIFEST).is_file():
        read_json(folder / CONFIG)
        weight_files(folder)


def local_encoder(name: str) -> Path | None:
    """Return the local folder of the encoder `name`; None if it may be a hub id.

    :raises TrainingError: if it is neither.
    """
    folder = encoder_folder(name)
    if folder is not None:
        return folder
    if Path(name).exists():
        raise TrainingError(f"no encoder {name!r}: it is a file; name the folder that holds it")
    if name.count("/") != 1 or name.startswith(("/", ".", "~")) or name.endswith("/"):
        raise TrainingError(
            f"no encoder {name!r}: there is no such folder; expected {MINILM!r}, a folder, or a "
            "hub id like owner/name"
        )
    return None


def fetch_encoder(name: str) -> Path:
    """Return the local folder of the hub's encoder `name`, downloading it if it is not cached.

    :raises TrainingError: if it is neither a local folder nor an encoder on the hub.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.utils.tqdm import disable_progress_bars

    disable_progress_bars()
    try:
        return Path(snapshot_download(name, allow_patterns=list(_HUB_FILES)))
    except (OSError, ValueError) as error:
        raise TrainingError(
            f"no encoder {name!r}: there is no such folder, and the hub has no encoder of that "
            f"name ({type(error).__name__}); name an existing folder, minilm, or a hub id like "
            "owner/name"
        ) from error


def read_json(path: Path) -> dict[str, Any]:
    """Return the JSON object in the file `path`.

    :raises TrainingError: if it is missing, not a regular file, too large, or not a JSON object.
    """
    try:
        if not path.is_file():
            raise TrainingError(
                f"{path} is missing, or no file: a folder in transformers' layout has one"
            )
        if path.stat().st_size > _MOST_JSON:
            raise TrainingError(f"{path} has more than {_MOST_JSON >> 20} MiB; expected a few KiB")
        value = json.loads(path.read_bytes())
    except OSError as error:
        raise TrainingError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise TrainingError(f"{path} holds no JSON ({error}); copy the encoder again") from error
    if not isinstance(value, dict):
        raise TrainingError(f"{path} holds no JSON object; copy the encoder again")
    return value


def weight_files(folder: Path) -> list[Path]:
    """Return the safetensors files that hold the weights of the encoder in `folder`.

    :raises TrainingError: if there are none, or not all that the index names.
    """
    if (folder / WEIGHTS).is_file():
        return [folder / WEIGHTS]
    if not (folder / INDEX).is_file():
        pickled = next((name for name in PICKLED if (folder / name).is_file()), None)
        if pickled is None:
            raise TrainingError(
                f"the encoder {folder} has no weights: expected {WEIGHTS}; copy it again"
            )
        raise TrainingError(
            f"the encoder {folder} has its weights in {pickled} alone, which is not read, since "
            'reading it can run code; if you trust it, convert it once: python -c "from '
            f"transformers import AutoModel as A; A.from_pretrained('{folder}').save_pretrained("
            "'NEW')\", and copy its tokeniser"
        )
    parts = read_json(folder / INDEX).get("weight_map")
    if not isinstance(parts, dict) or not parts:
        raise TrainingError(f"{folder / INDEX} has no weight_map; copy the encoder again")
    names = sorted({str(part) for part in parts.values()})
    for part in names:
        if Path(part).name != part or not (folder / part).is_file():
            raise TrainingError(
                f"{folder / INDEX} names the part {part!r}, which is no file beside it; copy the "
                "encoder again"
            )
    return [folder / part for part in names]


def read_headers(folder: Path) -> dict[str, Header]:
    """Return the headers of the weights in `folder` by tensor name, without reading the weights.

    :raises TrainingError: if the files are missing, or not safetensors files.
    """
    headers: dict[str, Header] = {}
    for path in weight_files(folder):
        try:
            with safe_open(path, "pt") as part:
                for name in part.keys():  # noqa: SIM118 - it is no mapping
                    found = part.get_slice(name)
                    headers[name] = Header(str(found.get_dtype()), tuple(found.get_shape()))
        except (OSError, SafetensorError) as error:
            raise TrainingError(
                f"{path} is no readable safetensors file ({error}); copy the encoder again"
            ) from error
    return headers


def check_layers(folder: Path, headers: Mapping[str, Header]) -> None:
    """Check, before anything is built, that the configuration does not exceed the weights.

    :raises TrainingError: if it has more layers than there are tensors, or a size
        larger than that of any tensor.
    """
    config = read_json(folder / CONFIG)
    longest = max((length for header in headers.values() for length in header.shape), default=0)
    for names, most, what in (
        (_LAYERS, len(headers), "tensors"),
        (_SIZES, max(longest, _ANY_SIZE), "numbers in their longest side at most"),
    ):
        for name in names:
            value = config.get(name, 0)
            if not isinstance(value, int) or not 0 <= value <= most:
                raise TrainingError(
                    f"{folder / CONFIG}: {name} is {value!r:.40}, and the weights have {most:,} "
                    f"{what}; they are not of one encoder"
                )


def check_whole(
    folder: Path,
    headers: Mapping[str, Header],
    expected: Collection[str],
    missing: Collection[str],
    unexpected: Collection[str],
    mismatched: Mapping[str, tuple[tuple[int, ...], tuple[int, ...]]],
    prefix: str,
) -> None:
    """Check that every tensor that the encoder needs was loaded from its files.

    A pooler and heads are not used for tagging; they may be present or absent.

    :param expected: the encoder's own tensors by name; `missing` of them were in no file
    :param unexpected: tensors of the files that the encoder does not have
    :param mismatched: shapes in the file and in the encoder, by name
    :param prefix: an optional prefix of the names in a file, such as `bert.`
    :raises TrainingError: with the names of the wrong tensors.
    """
    lacking = sorted(name for name in missing if not name.startswith("pooler."))
    if lacking:
        hint = _prefix_hint(headers, lacking[0], prefix)
        raise TrainingError(
            f"the encoder {folder} lacks {len(lacking):,} of its {len(expected):,} tensors, which "
            f"would be random: {_shown_names(lacking)}{hint}"
        )
    if mismatched:
        shown = [
            f"{name} has the shape {list(in_file)}, expected {list(wanted)}"
            for name, (in_file, wanted) in sorted(mismatched.items())
        ]
        raise TrainingError(
            f"the encoder {folder} is not what its {CONFIG} says: {_shown_names(shown)}"
        )
    parts = {name.partition(".")[0] for name in expected} - {"pooler"}
    surplus = sorted(
        name
        for name in unexpected
        if name.removeprefix(prefix).partition(".")[0] in parts and "position_ids" not in name
    )
    if surplus:
        raise TrainingError(
            f"the encoder {folder} has {len(surplus):,} tensors that its {CONFIG} leaves out: "
            f"{_shown_names(surplus)}; mend the configuration"
        )
    for name, header in headers.items():
        if name.removeprefix(prefix) in expected and header.kind not in _FLOATS:
            raise TrainingError(
                f"the encoder {folder}: the tensor {name} is of type {header.kind}, expected one "
                f"of {', '.join(_FLOATS)}; take weights that are not quantised"
            )


def _prefix_hint(headers: Mapping[str, Header], lacking: str, prefix: str) -> str:
    """Return a hint if a missing tensor is in the file under a prefixed name."""
    other = next((name for name in headers if name.endswith(f".{lacking}")), None)
    if other is None:
        return ""
    stray = other.removesuffix(lacking).removesuffix(prefix)
    return f"; the file has {other}: take {stray!r} off the names of its tensors"


def _shown_names(names: Collection[str]) -> str:
    shown = list(names)[:_SHOWN]
    more = len(names) - len(shown)
    return ", ".join(shown) + (f" and {more:,} more" if more else "")
