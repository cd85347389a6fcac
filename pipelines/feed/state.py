"""Progress of a run of `pubner feed`, kept in a file until the run ends so that it can resume."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

from pydantic import BaseModel

from pipelines.blocks.elements import InputFile
from schemas.errors import InputError, OutputError
from worker.storage.atomic import temporary_of, write_whole

FORMAT_VERSION = 1


@dataclass(frozen=True, slots=True)
class FileProgress:
    """The progress of a file: all records before `acknowledged`, and whether those are all."""

    source: str
    acknowledged: int
    finished: bool


@dataclass(frozen=True, slots=True)
class FeedState:
    """The progress of a run: the topic that it feeds, its inputs and its files.

    `inputs` identifies the inputs together (see `inputs_id`); `files` maps the digest of a file's
    content to its progress; `ends` maps each partition to the offset after this run's last message
    that is acknowledged together with all before it.
    """

    cluster_id: str
    topic_id: str
    inputs: str
    ends: Mapping[int, int]
    files: Mapping[str, FileProgress] = field(default_factory=dict)

    def first_unacknowledged(self, digest: str) -> int:
        """Return the index of the first record of a file not known to be acknowledged."""
        progress = self.files.get(digest)
        return 0 if progress is None else progress.acknowledged

    def is_finished(self, digest: str) -> bool:
        """Whether all of a file is acknowledged."""
        progress = self.files.get(digest)
        return progress is not None and progress.finished


def inputs_id(files: Iterable[InputFile]) -> str:
    """Return an id of the inputs of a run together: a digest of their sorted names and sizes."""
    names = sorted(f"{file.source}\0{file.size}" for file in files)
    return hashlib.sha256("\n".join(names).encode("utf-8", "surrogatepass")).hexdigest()


def load_state(path: Path) -> FeedState | None:
    """Return the state in a file; None if the file does not exist.

    :raises InputError: if the file cannot be read, or is not a state of this version.
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
        values = _File.model_validate_json(data).model_dump(exclude={"format_version"})
        files = {digest: FileProgress(**found) for digest, found in values.pop("files").items()}
        return FeedState(**values, files=files)
    except ValueError:
        raise InputError(
            f"{str(path)!r} is not a feed state of this version of pubner; remove it, or give "
            "another --state"
        ) from None


class _FileProgress(BaseModel):
    source: str
    acknowledged: int
    finished: bool


class _File(BaseModel):
    """The content of a state's file."""

    format_version: Literal[1]
    cluster_id: str
    topic_id: str
    inputs: str
    ends: dict[int, int]
    files: dict[str, _FileProgress]


def save_state(path: Path, state: FeedState) -> None:
    """Write the state to a file atomically.

    :raises OutputError: if it cannot be written.
    """
    text = json.dumps({"format_version": FORMAT_VERSION, **asdict(state)}, indent=1)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, text)
    except OSError as error:
        raise OutputError(
            f"the feed's state {str(path)!r} cannot be written: {error.strerror}; free disk "
            "space, or give another --state"
        ) from error


def drop_state(path: Path) -> None:
    """Remove the state of a run that has ended.

    :raises OutputError: if it cannot be removed.
    """
    try:
        path.unlink(missing_ok=True)
        temporary_of(path).unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(
            f"the feed's state {str(path)!r} cannot be removed: {error.strerror}; remove it by "
            "hand, since the run has ended"
        ) from error
