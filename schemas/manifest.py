"""The checkpoint manifest: what a checkpoint is, does, and was made of.

`manifest.json` is written last into a checkpoint's folder. Its id is the digest of the content of
all other files and of what the manifest says the content means, so equal ids mean equal output.
"""

import hashlib
import json
from collections.abc import Mapping
from itertools import pairwise
from typing import Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

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
    """How a head's scores become probabilities; see `worker.decoding.calibration`.

    Tag scores are divided by `temperature`; a span's score s is then the logistic function of
    a ln s - b ln(1 - s) + c. The default changes nothing.
    """

    temperature: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    a: float = Field(default=1.0, ge=0, le=1000, allow_inf_nan=False)
    b: float = Field(default=1.0, ge=0, le=1000, allow_inf_nan=False)
    c: float = Field(default=0.0, ge=-1000, le=1000, allow_inf_nan=False)


class HeadReference(_Frozen):
    """How a head behaved on the reference texts: how much it found, and with which scores.

    `edges` are the inner bounds of the score bins, ascending, near the deciles of the scores;
    `shares` is the part of the mentions in each bin, so one longer. A score that equals an edge
    lies in the bin above it. Ties and few mentions make fewer bins; one bin judges no scores.
    """

    mentions: int = Field(ge=0)
    mentions_per_citation: float = Field(ge=0, allow_inf_nan=False)
    edges: tuple[float, ...] = ()
    shares: tuple[float, ...] = (1.0,)

    @model_validator(mode="after")
    def _bins_fit(self) -> Self:
        if any(left >= right for left, right in pairwise((0.0, *self.edges, 1.0))):
            raise ValueError(f"edges must ascend between 0 and 1; got {self.edges}")
        if len(self.shares) != len(self.edges) + 1:
            raise ValueError(f"{len(self.edges)} edges make one bin more, got {len(self.shares)}")
        if min(self.shares) < 0 or abs(sum(self.shares) - 1) > 1e-3:
            raise ValueError(f"shares must be parts of 1; got {self.shares}")
        return self


class DriftReference(_Frozen):
    """What the checkpoint found in texts of its trade, which later output is compared with.

    `sha256` is that of the texts themselves, `name` where they came from. `unknown_share` is the
    part of the word pieces that the vocabulary does not know: 0 for a dictionary, and None for a
    set of checkpoints of which some have no reference.
    """

    name: str
    sha256: str
    citations: int = Field(ge=1)
    word_pieces: int = Field(ge=0)
    unknown_share: float | None = Field(ge=0, le=1)
    heads: dict[str, HeadReference]


class CheckpointManifest(_Frozen):
    """All that is known of a checkpoint; see the module's docstring.

    `letter_case` says whether the encoder reads letter-case classes as its token types.
    `max_pieces` is the longest input in word pieces, special ones included; 0 for a dictionary,
    which reads any.
    `calibration` holds those heads whose scores are calibrated.
    `reading` names the table that characters are read with, see `worker.text.reading_table`; the
    manifest of a checkpoint that reads them as they stand does not name it.
    `reference` is a note for drift, see `worker.drift.tally`; a manifest without it leaves it out.
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
    reading: str | None = Field(default=None, min_length=1)
    reference: DriftReference | None = None

    @model_serializer(mode="wrap")
    def _without_what_is_not_set(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        content: dict[str, Any] = handler(self)
        for name in ("reading", "reference"):
            if content.get(name) is None:
                content.pop(name, None)
        return content

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
    reading: str | None = None,
) -> str:
    """Return a checkpoint's id: `ID_LENGTH` hex digits of the SHA-256 over what shapes its output.

    `files` maps each file's name to its SHA-256; notes such as metrics are left out, so that
    adding a score or a reference does not make another checkpoint.
    """
    content: dict[str, Any] = {
        "files": dict(sorted(files.items())),
        "tasks": [task.model_dump(mode="json") for task in tasks],
        "letter_case": letter_case,
        "max_pieces": max_pieces,
        "calibration": {
            name: head.model_dump(mode="json") for name, head in sorted(calibration.items())
        },
    }
    if reading is not None:
        content["reading"] = reading
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:ID_LENGTH]
