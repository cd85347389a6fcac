"""Replay journal: which dead letters of an output were republished, so that each is sent once.

Each replay has one file in the output. It is written before anything is sent, with the dead letters
to send and the topic's end offsets, and again when all are acknowledged. The messages that an
interrupted replay has sent are those after these end offsets that bear its id in a header.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, Self

from pydantic import BaseModel

from pipelines.dead_letters.reading import DeadLetterId
from pipelines.dead_letters.selection import format_position, parse_position
from pipelines.output.store import LOCKS, Store
from schemas.errors import OutputError
from worker.storage.objects import put_over

FOLDER = ".replays"
_SUFFIX = ".json"
_LOCK = "replays.lock"
_REFUSAL = (
    "another replay of the dead letters in {root} is running (process {holder}); wait until it ends"
)


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
        with self.store.locked(f"{LOCKS}/{_LOCK}", _REFUSAL):
            self.store.sweep(FOLDER)
            yield

    def replays(self) -> list[Replay]:
        """Return all replays, the earliest first.

        :raises OutputError: if one cannot be read.
        """
        names = self.store.objects.names(FOLDER)
        found = [self._read(name) for name in names if name.endswith(_SUFFIX)]
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
        data = (_File.of(replay).model_dump_json(indent=1) + "\n").encode()
        put_over(self.store.objects, f"{FOLDER}/{replay.id}{_SUFFIX}", data)

    def _read(self, name: str) -> Replay:
        found = self.store.objects.get(f"{FOLDER}/{name}")
        try:
            return _File.model_validate_json(b"" if found is None else found.data).replay()
        except ValueError as error:
            raise _unknown(name) from error


class _File(BaseModel):
    """The content of a replay's file."""

    format_version: Literal[1] = 1
    id: str
    cluster_id: str
    topic_id: str
    topic: str
    begun_at: str
    ends: dict[int, int]
    finished: bool
    letters: list[tuple[str, str]]

    @classmethod
    def of(cls, replay: Replay) -> Self:
        """Return the content for a replay."""
        return cls(
            id=replay.id,
            cluster_id=replay.target.cluster_id,
            topic_id=replay.target.topic_id,
            topic=replay.topic,
            begun_at=replay.begun_at,
            ends=dict(sorted(replay.ends.items())),
            finished=replay.finished,
            letters=[(format_position(x), digest) for x, digest in sorted(replay.dead_letters)],
        )

    def replay(self) -> Replay:
        """Return the replay.

        :raises ValueError: if a position is not one.
        """
        return Replay(
            id=self.id,
            target=Target(self.cluster_id, self.topic_id),
            topic=self.topic,
            begun_at=self.begun_at,
            ends=self.ends,
            dead_letters=frozenset((parse_position(x), digest) for x, digest in self.letters),
            finished=self.finished,
        )


def _unknown(name: str) -> OutputError:
    return OutputError(
        f"{FOLDER}/{name} in the output is damaged, or of another version of pubner; if it is "
        "removed, the dead letters that it records as replayed may be sent again"
    )
