"""The checkpoint manifest: a checkpoint's kind, tasks, files, calibration and provenance.

`manifest.json` is written last into a checkpoint's folder. Its id is a digest of all other files
and of the manifest's fields that affect the output, so equal ids mean equal output.
"""

import hashlib
import json
from collections.abc import Mapping
from itertools import pairwise
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from schemas.entity_types import EntityType, checked_curie
from schemas.tasks import Label, Task

FORMAT_VERSION: Literal[1] = 1
ID_LENGTH = 16


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class LabelEntry(_Frozen):
    """One label of a task: the corpus's own name and the normalised entity type.

    `curie` is the meaning of a type that `KNOWN_TYPES` lacks; absent from the JSON if None.
    """

    name: str
    entity_type: EntityType
    curie: Annotated[str, AfterValidator(checked_curie)] | None = None

    @model_serializer(mode="wrap")
    def _omit_no_curie(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        content: dict[str, Any] = handler(self)
        if content.get("curie") is None:
            content.pop("curie", None)
        return content


class TaskEntry(_Frozen):
    """One task head: its name and its labels, in the order of the head's tags."""

    name: str
    labels: tuple[LabelEntry, ...] = Field(min_length=1)

    def record(self) -> Task:
        """Return the entry as a `Task`."""
        return Task(self.name, tuple(Label(x.name, x.entity_type, x.curie) for x in self.labels))


class CorpusEntry(_Frozen):
    """The training data of a head: the corpus, the split, its digest and its size."""

    name: str
    split: str
    sha256: str
    sentences: int
    mentions: int


class HeadCalibration(_Frozen):
    """A head's calibration parameters; see `worker.decoding.calibration`.

    Tag scores are divided by `temperature`; a span's score s is then the logistic function of
    a ln s - b ln(1 - s) + c. The default changes nothing.
    """

    temperature: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    a: float = Field(default=1.0, ge=0, le=1000, allow_inf_nan=False)
    b: float = Field(default=1.0, ge=0, le=1000, allow_inf_nan=False)
    c: float = Field(default=0.0, ge=-1000, le=1000, allow_inf_nan=False)


class HeadReference(_Frozen):
    """A head's output on the reference texts: its number of mentions and their score histogram.

    `edges` are the inner bounds of the score bins, ascending, near the deciles of the scores;
    `shares` are the fractions of the mentions in each bin, one more than edges. A score equal to
    an edge is in the bin above it. Ties and few mentions give fewer bins; with a single bin, score
    drift is not judged.
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
            bins = len(self.edges) + 1
            raise ValueError(f"{len(self.edges)} edges need {bins} shares, got {len(self.shares)}")
        if min(self.shares) < 0 or abs(sum(self.shares) - 1) > 1e-3:
            raise ValueError(f"shares must be fractions that add up to 1; got {self.shares}")
        return self


class DriftReference(_Frozen):
    """A drift reference: the checkpoint's output on in-domain texts, to compare later output with.

    `sha256` is the digest of the texts, `name` their origin. `unknown_share` is the fraction of
    the word pieces that are unknown to the vocabulary: 0 for a dictionary, and None for a set of
    checkpoints of which some have no reference.
    """

    name: str
    sha256: str
    citations: int = Field(ge=1)
    word_pieces: int = Field(ge=0)
    unknown_share: float | None = Field(ge=0, le=1)
    heads: dict[str, HeadReference]


class CheckpointManifest(_Frozen):
    """The content of `manifest.json`; see the module's docstring.

    `letter_case` is true if the encoder reads letter-case classes as its token types.
    `max_pieces` is the longest input in word pieces, special ones included; 0 for a dictionary,
    which has no limit.
    `calibration` has an entry for each head whose scores are calibrated.
    `reading` names the character normalisation table, see `worker.text.reading_table`; None, and
    absent from the JSON, if characters are not normalised.
    `reference` is the drift reference, see `worker.drift.tally`; absent from the JSON if None.
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
    def _omit_unset_fields(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
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
    """Return a checkpoint's id: `ID_LENGTH` hex digits of a SHA-256 of what affects its output.

    `files` maps each file's name to its SHA-256; descriptive fields such as metrics and CURIEs are
    left out, so adding a score or a reference does not change the id.
    """
    content: dict[str, Any] = {
        "files": dict(sorted(files.items())),
        "tasks": [
            task.model_dump(mode="json", exclude={"labels": {"__all__": {"curie"}}})
            for task in tasks
        ],
        "letter_case": letter_case,
        "max_pieces": max_pieces,
        "calibration": {
            name: head.model_dump(mode="json") for name, head in sorted(calibration.items())
        },
    }
    if reading is not None:
        content["reading"] = reading
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:ID_LENGTH]
