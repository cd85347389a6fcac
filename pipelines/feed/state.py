"""How far a run of `pubner feed` is: kept in a file until the run ends, so that it can go on."""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pipelines.blocks.elements import InputFile
from schemas.errors import InputError, OutputError

FORMAT_VERSION = 1


@dataclass(frozen=True, slots=True)
class FileProgress:
    """Of a file: what is acknowledged of it (all records before that index), and if that is all."""

    source: str
    acknowledged: int
    finished: bool


@dataclass(frozen=True, slots=True)
class FeedState:
    """Of a run: which topic it feeds, with which inputs, and how far it is.

    `inputs` identifies the inputs together (see `inputs_id`); `files` tells of each by the digest
    of its content; `ends` gives, by partition, the offset behind the last message of ours that is
    sure to be in the topic with all before it.
    """

    cluster_id: str
    topic_id: str
    inputs: str
    ends: Mapping[int, int]
    files: Mapping[str, FileProgress] = field(default_factory=dict)

    def begin_of(self, digest: str) -> int:
        """Return the index of the first record of a file that is not known to be acknowledged."""
        progress = self.files.get(digest)
        return 0 if progress is None else progress.acknowledged

    def is_finished(self, digest: str) -> bool:
        """Whether all of a file is acknowledged."""
        progress = self.files.get(digest)
        return progress is not None and progress.finished


def inputs_id(files: Iterable[InputFile]) -> str:
    """Return what identifies the inputs of a run together: their names and sizes, in any order."""
    names = sorted(f"{file.source}\0{file.size}" for file in files)
    return hashlib.sha256("\n".join(names).encode("utf-8", "surrogatepass")).hexdigest()


def load_state(path: Path) -> FeedState | None:
    """Return the state in a file; None where there is no file.

    :raises InputError: if it cannot be read, or is no such state.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InputError(
            f"the feed's state {str(path)!r} cannot be read: {error.strerror}"
        ) from None
    try:
        return _from_json(json.loads(data))
    except (ValueError, KeyError, TypeError, AttributeError):
        raise InputError(
            f"{str(path)!r} is not the state of a feed that this pubner wrote; remove it, or give "
            "another --state"
        ) from None


def _from_json(values: Any) -> FeedState:  # noqa: ANN401 - what JSON holds
    if values["format_version"] != FORMAT_VERSION:
        raise ValueError(values["format_version"])
    return FeedState(
        cluster_id=str(values["cluster_id"]),
        topic_id=str(values["topic_id"]),
        inputs=str(values["inputs"]),
        ends={int(partition): int(end) for partition, end in values["ends"].items()},
        files={
            str(digest): FileProgress(
                str(found["source"]), int(found["acknowledged"]), bool(found["finished"])
            )
            for digest, found in values["files"].items()
        },
    )


def save_state(path: Path, state: FeedState) -> None:
    """Write the state to a file: all of it or nothing.

    :raises OutputError: if it cannot be written.
    """
    text = json.dumps({"format_version": FORMAT_VERSION, **asdict(state)}, indent=1)
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except OSError as error:
        raise OutputError(
            f"the feed's state {str(path)!r} cannot be written: {error.strerror}; make room, or "
            "give another --state"
        ) from error


def drop_state(path: Path) -> None:
    """Remove the state of a run that is at its end.

    :raises OutputError: if it cannot be removed.
    """
    try:
        path.unlink(missing_ok=True)
        path.with_name(f".{path.name}.tmp").unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(
            f"the feed's state {str(path)!r} cannot be removed: {error.strerror}; remove it by "
            "hand, since the run is at its end"
        ) from error
