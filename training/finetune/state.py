"""Files of a saved training state, from which a killed run resumes.

`state-<step>/` holds `tensors.safetensors` (weights, optimiser moments, random generator) and
`state.json` (position in the data, scores, the run's settings). A state is complete once the
pointer file `latest` names it; older ones are then removed.
"""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from schemas.errors import TrainingError
from worker.storage.atomic import sync, write_whole

_LATEST = "latest"
_TENSORS = "tensors.safetensors"
_VALUES = "state.json"


@dataclass(frozen=True, slots=True, eq=False)
class SavedState:
    """The content of a state: named tensors, and JSON values."""

    tensors: dict[str, Tensor]
    values: dict[str, Any]


def save_state(folder: Path, step: int, state: SavedState) -> None:
    """Write `state` as the latest of `folder`, atomically: a kill leaves a complete state."""
    folder.mkdir(parents=True, exist_ok=True)
    name = f"state-{step:08d}"
    temporary = folder / f".{name}.tmp"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    save_file(state.tensors, temporary / _TENSORS)
    (temporary / _VALUES).write_text(json.dumps(state.values), "utf-8")
    shutil.rmtree(folder / name, ignore_errors=True)
    for written in (*temporary.iterdir(), temporary):
        sync(written)
    temporary.replace(folder / name)
    write_whole(folder / _LATEST, name)
    for other in folder.glob("state-*"):
        if other.name != name:
            shutil.rmtree(other, ignore_errors=True)


def load_state(folder: Path) -> SavedState | None:
    """Return the latest complete state of `folder`, or None if there is none.

    :raises TrainingError: if the state that `latest` names cannot be read.
    """
    pointer = folder / _LATEST
    if not pointer.is_file():
        return None
    place = folder / pointer.read_text("utf-8").strip()
    try:
        tensors = load_file(place / _TENSORS)
        values: dict[str, Any] = json.loads((place / _VALUES).read_text("utf-8"))
    except (OSError, ValueError, SafetensorError) as error:
        raise TrainingError(
            f"the saved state {place} cannot be read ({error}); start over with --restart"
        ) from error
    return SavedState(tensors, values)
