"""The checkpoint manifest: what a checkpoint is, does, and was made of.

`manifest.json` is written last into a checkpoint's folder. Its id is the digest of the content of
all other files and of what the manifest says the content means, so equal ids mean equal output.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from schemas.tasks import EntityType, Label, Task

FORMAT_VERSION: Literal[1] = 1
ID_LENGTH = 16


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class LabelEntry(_Frozen):
    """One label of a task: the corpus's own name and the normalised entity type."""

    name: str
    entity_type: EntityType


class TaskEntry(_Frozen):
    """One task head: its name and its labels, in the order of the head's tags."""

    name: str
    labels: tuple[LabelEntry, ...] = Field(min_length=1)

    def record(self) -> Task:
        """Return the entry as a `Task`."""
        return Task(self.name, tuple(Label(x.name, x.entity_type) for x in self.labels))


class CorpusEntry(_Frozen):
    """What a head was trained on: the corpus, the split, its digest and its size."""

    name: str
    split: str
    sha256: str
    sentences: int
    mentions: int


class HeadCalibration(_Frozen):
    """How a head's scores become probabilities; see `worker.calibration`.

    Tag scores are divided by `temperature`; a span's score s is then the logistic function of
    a ln s - b ln(1 - s) + c. The default changes nothing.
    """

    temperature: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    a: float = Field(default=1.0, ge=0, le=1000, allow_inf_nan=False)
    b: float = Field(default=1.0, ge=0, le=1000, allow_inf_nan=False)
    c: float = Field(default=0.0, ge=-1000, le=1000, allow_inf_nan=False)


class CheckpointManifest(_Frozen):
    """All that is known of a checkpoint; see the module's docstring.

    `letter_case` says whether the encoder reads letter-case classes as its token types.
    `max_pieces` is the longest input in word pieces, special ones included; 0 for a dictionary,
    which reads any.
    `calibration` holds those heads whose scores are calibrated.
    """

    format_version: Literal[1] = FORMAT_VERSION
    id: str
    kind: Literal["encoder", "dictionary"]
    tasks: tuple[TaskEntry, ...] = Field(min_length=1)
    letter_case: bool = False
    max_pieces: int = 512
    recipe: dict[str, str | int | float | bool | tuple[str, ...] | None] = {}
    encoder_source: str = ""
    corpora: tuple[CorpusEntry, ...] = ()
    metrics: dict[str, dict[str, float]] = {}
    calibration: dict[str, HeadCalibration] = {}
    versions: dict[str, str] = {}
    files: dict[str, str] = Field(min_length=1)

    def task_records(self) -> tuple[Task, ...]:
        """Return the tasks as records, in head order."""
        return tuple(task.record() for task in self.tasks)


def content_id(
    files: dict[str, str],
    tasks: tuple[TaskEntry, ...],
    *,
    letter_case: bool,
    max_pieces: int,
    calibration: Mapping[str, HeadCalibration],
) -> str:
    """Return a checkpoint's id: `ID_LENGTH` hex digits of the SHA-256 over what shapes its output.

    `files` maps each file's name to its SHA-256; notes such as metrics are left out, so that
    adding a score does not make another checkpoint.
    """
    content = {
        "files": dict(sorted(files.items())),
        "tasks": [task.model_dump(mode="json") for task in tasks],
        "letter_case": letter_case,
        "max_pieces": max_pieces,
        "calibration": {
            name: head.model_dump(mode="json") for name, head in sorted(calibration.items())
        },
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:ID_LENGTH]
