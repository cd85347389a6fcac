"""What of an output's dead letters was sent to a topic: kept with the output, so each goes once.

A replay is one file. It is written before anything is sent, with the letters it is about to send
and where the topic's partitions end, and again when all is acknowledged. Of a replay that was cut
short, the messages behind those ends that bear its id are those that were sent.
"""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from pipelines.dead_letters.reading import LetterId
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
    """A topic that letters are sent to; another one once it is deleted and made anew."""

    cluster_id: str
    topic_id: str


@dataclass(frozen=True, slots=True)
class Replay:
    """One replay to a topic, `topic` its name.

    Unless it is `finished`, `letters` are those that it was about to send, else those that it has
    sent. `ends` are the topic's end offsets by partition, from before anything was sent. `begun_at`
    is an ISO time in UTC.
    """

    id: str
    target: Target
    topic: str
    begun_at: str
    ends: Mapping[int, int]
    letters: frozenset[LetterId]
    finished: bool = False


@dataclass(frozen=True, slots=True)
class Ledger:
    """The replays of one output."""

    store: Store

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other replays to a topic out, on a disk; an object store has no locks.

        :raises OutputError: if another one is running, or the output cannot be written.
        """
        if not isinstance(self.store, DiskStore):
            yield
            return
        place = self.store.root / LOCKS / _LOCK
        with ExitStack() as held:
            try:
                with reporting("lock", place):
                    held.enter_context(exclusive(place, wait_seconds=0))
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

    def sent(self, target: Target | None) -> set[LetterId]:
        """Return the letters that were sent to `target`, or to any topic where it is None.

        Those that a replay may have sent, which was cut short and is not settled, are among them.

        :raises OutputError: as `replays`.
        """
        return {
            letter
            for replay in self.replays()
            if target is None or replay.target == target
            for letter in replay.letters
        }

    def save(self, replay: Replay) -> None:
        """Write down a replay, over what was known of it.

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
            place = self.store.root / FOLDER / name
            with reporting("read", place):
                return place.read_bytes()
        found = self._objects().get(f"{FOLDER}/{name}")
        return b"" if found is None else found.data

    def _objects(self) -> Objects:
        if isinstance(self.store, ObjectStore):
            return self.store.objects
        raise TypeError(f"no ledger is kept for {type(self.store).__name__}")


def _write(store: DiskStore, name: str, data: bytes) -> None:
    place = store.root / FOLDER / name
    temporary = place.with_name(f".{name}{TEMPORARY_SUFFIX}")
    with reporting("write", place):
        place.parent.mkdir(exist_ok=True)
        with temporary.open("wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(place)
        for folder in (place.parent, store.root):
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
        "letters": [[format_position(x), digest] for x, digest in sorted(replay.letters)],
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
            letters=frozenset((parse_position(x), str(digest)) for x, digest in values["letters"]),
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
        f"{FOLDER}/{name} in the output is not what this pubner wrote there; where it is removed, "
        "the letters that it says were replayed may be sent again"
    )
