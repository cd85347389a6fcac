"""Replay journal: which dead letters of an output were republished, so that each is sent once.

Each replay has one file in the output. It is written before anything is sent, with the dead letters
to send and the topic's end offsets, and again when all are acknowledged. The messages that an
interrupted replay has sent are those after these end offsets that bear its id in a header.
"""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from pipelines.dead_letters.reading import DeadLetterId
from pipelines.dead_letters.selection import format_position, parse_position
from pipelines.output.object_store import ObjectStore
from pipelines.output.store import LOCKS, TEMPORARY_SUFFIX, DiskStore, Store, reporting
from schemas.errors import LockedError, OutputError
from worker.storage.objects import Objects
from worker.system.locks import exclusive

FOLDER = ".replays"
FORMAT_VERSION = 1
_SUFFIX = ".json"
_LOCK = "replays.lock"


@dataclass(frozen=True, slots=True)
class Target:
    """The identity of a topic that dead letters are sent to; a recreated topic has another one."""

    cluster_id: str
    topic_id: str


@dataclass(frozen=True, slots=True)
class Replay:
    """A replay of dead letters to a topic, `topic` being its name.

    `dead_letters` are those to send or, once the replay is `finished`, those that were sent. `ends`
    are the topic's end offsets by partition, from before anything was sent. `begun_at` is an ISO
    time in UTC.
    """

    id: str
    target: Target
    topic: str
    begun_at: str
    ends: Mapping[int, int]
    dead_letters: frozenset[DeadLetterId]
    finished: bool = False


@dataclass(frozen=True, slots=True)
class Ledger:
    """The journal of the replays of one output."""

    store: Store

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Lock out other replays to a topic; an output in an object store has no lock.

        :raises OutputError: if another replay is running, or the output cannot be written.
        """
        if not isinstance(self.store, DiskStore):
            yield
            return
        path = self.store.root / LOCKS / _LOCK
        with ExitStack() as held:
            try:
                with reporting("lock", path):
                    held.enter_context(exclusive(path, wait_seconds=0))
                    for left in (self.store.root / FOLDER).glob(f".*{TEMPORARY_SUFFIX}"):
                        left.unlink(missing_ok=True)
            except LockedError as error:
                raise OutputError(
                    f"another replay of the dead letters in {str(self.store.root)!r} is running "
                    f"(process {error.holder}); wait until it ends"
                ) from error
            yield

    def replays(self) -> list[Replay]:
        """Return all replays, the earliest first.

        :raises OutputError: if one cannot be read.
        """
        found = [_from_bytes(self._read(name), name) for name in self._names()]
        return sorted(found, key=lambda replay: (replay.begun_at, replay.id))

    def sent(self, target: Target | None) -> set[DeadLetterId]:
        """Return the dead letters sent to `target`, or to any topic if it is None.

        Those that an interrupted replay may have sent are included until it is recovered.

        :raises OutputError: as `replays`.
        """
        return {
            dead_letter
            for replay in self.replays()
            if target is None or replay.target == target
            for dead_letter in replay.dead_letters
        }

    def save(self, replay: Replay) -> None:
        """Write a replay, replacing its earlier file.

        :raises OutputError: if it cannot be written.
        """
        name, data = replay.id + _SUFFIX, _to_bytes(replay)
        if isinstance(self.store, DiskStore):
            _write(self.store, name, data)
            return
        objects, path = self._objects(), f"{FOLDER}/{name}"
        before = objects.get(path)
        objects.put(path, data, over=None if before is None else before.version)

    def _names(self) -> list[str]:
        if isinstance(self.store, DiskStore):
            folder = self.store.root / FOLDER
            with reporting("list", folder):
                names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
        else:
            names = self._objects().names(FOLDER)
        return [name for name in names if name.endswith(_SUFFIX) and name[0] != "."]

    def _read(self, name: str) -> bytes:
        if isinstance(self.store, DiskStore):
            path = self.store.root / FOLDER / name
            with reporting("read", path):
                return path.read_bytes()
        found = self._objects().get(f"{FOLDER}/{name}")
        return b"" if found is None else found.data

    def _objects(self) -> Objects:
        if isinstance(self.store, ObjectStore):
            return self.store.objects
        raise TypeError(f"no ledger is kept for {type(self.store).__name__}")


def _write(store: DiskStore, name: str, data: bytes) -> None:
    path = store.root / FOLDER / name
    temporary = path.with_name(f".{name}{TEMPORARY_SUFFIX}")
    with reporting("write", path):
        path.parent.mkdir(exist_ok=True)
        with temporary.open("wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
        for folder in (path.parent, store.root):
            descriptor = os.open(folder, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


def _to_bytes(replay: Replay) -> bytes:
    values = {
        "format_version": FORMAT_VERSION,
        "id": replay.id,
        "cluster_id": replay.target.cluster_id,
        "topic_id": replay.target.topic_id,
        "topic": replay.topic,
        "begun_at": replay.begun_at,
        "ends": {str(number): end for number, end in sorted(replay.ends.items())},
        "finished": replay.finished,
        "letters": [[format_position(x), digest] for x, digest in sorted(replay.dead_letters)],
    }
    return (json.dumps(values, indent=1, ensure_ascii=False) + "\n").encode()


def _from_bytes(data: bytes, name: str) -> Replay:
    try:
        values: Mapping[str, Any] = json.loads(data)
        replay = Replay(
            id=str(values["id"]),
            target=Target(str(values["cluster_id"]), str(values["topic_id"])),
            topic=str(values["topic"]),
            begun_at=str(values["begun_at"]),
            ends={int(number): int(end) for number, end in values["ends"].items()},
            dead_letters=frozenset(
                (parse_position(x), str(digest)) for x, digest in values["letters"]
            ),
            finished=bool(values["finished"]),
        )
        known = values["format_version"] == FORMAT_VERSION
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _unknown(name) from error
    if not known:
        raise _unknown(name)
    return replay


def _unknown(name: str) -> OutputError:
    return OutputError(
        f"{FOLDER}/{name} in the output is damaged, or of another version of pubner; if it is "
        "removed, the dead letters that it records as replayed may be sent again"
    )
