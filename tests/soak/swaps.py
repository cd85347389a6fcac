"""Checkpoints that change under a running stream, and what must hold of every row then."""

import threading
import time
from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil

from tests.soak.scene import Scene
from tests.support.registries import damage
from tests.support.stream_check import Output, check_annotations, rows_in_place
from worker.checkpoint.folder import read_manifest
from worker.registry.registry import Registry

_SAMPLE = 150


@dataclass(frozen=True, slots=True)
class Pace:
    """How often workers look at the registry, and how long each state of it lasts.

    The first one is watched as long, to know the output's gaps without a swap. So long after a
    change and a look, the grace, every row must be by the new checkpoint; a state lasts longer.
    """

    look_seconds: float = 3.0
    hold_seconds: float = 36.0
    grace_seconds: float = 30.0


@dataclass
class Watch:
    """Notes when the output grew, from a thread of its own."""

    output: Path
    times: list[float] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to watch."""
        self._thread = threading.Thread(target=self._watch, name="watch", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Watch no more."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def longest_gap(self, begin: float, end: float) -> float:
        """Return the longest time without a new row between two moments of the monotonic clock."""
        first, last = bisect_right(self.times, begin), bisect_right(self.times, end)
        moments = [begin, *self.times[first:last], end]
        return max(after - before for before, after in pairwise(moments))

    def _watch(self) -> None:
        known = 0
        while not self._stop.wait(0.1):
            with suppress(OSError):
                rows = rows_in_place(self.output)
                if rows > known:
                    known = rows
                    self.times.append(time.monotonic())


@dataclass(frozen=True, slots=True)
class Turn:
    """A change of the active checkpoint: what must be in use after it, and when it came."""

    kind: str
    active: str
    expected: str
    when: datetime
    begun: float


@dataclass
class Swaps:
    """A running stream whose registry is changed under it."""

    scene: Scene
    registry: Registry
    watch: Watch
    pace: Pace
    turns: list[Turn] = field(default_factory=list)
    memory: list[int] = field(default_factory=list)
    sockets: list[int] = field(default_factory=list)

    def promote(self, kind: str, checkpoint_id: str, *, expected: str | None = None) -> None:
        """Move the pointer, as a promotion that passed its gate does."""
        self.registry.move(
            self.registry.pointer(),
            checkpoint_id,
            action="promote",
            who="the load",
            when=datetime.now(UTC),
            why=kind,
        )
        self._note(kind, checkpoint_id, expected or checkpoint_id)

    def roll_back(self) -> None:
        """Make the checkpoint before active again."""
        pointer = self.registry.pointer()
        before = pointer.before()
        self.registry.move(
            pointer, before, action="rollback", who="the load", when=datetime.now(UTC), why="back"
        )
        self._note("rollback", before, before)

    def hold(self) -> float:
        """Let the load go on for a while; return the longest gap in the output meanwhile."""
        begun = time.monotonic()
        time.sleep(self.pace.hold_seconds)
        gap = self.watch.longest_gap(begun, time.monotonic())
        self.scene.wait_for_progress(what="progress after a change")
        workers = self.scene.flink.workers()
        self.memory.append(max(map(resident_bytes, workers), default=0))
        self.sockets.append(max(map(open_sockets, workers), default=0))
        return gap

    def _note(self, kind: str, active: str, expected: str) -> None:
        self.turns.append(Turn(kind, active, expected, datetime.now(UTC), time.monotonic()))


def run_swaps(swaps: Swaps, ids: Sequence[str], *, at_least: int) -> tuple[Output, dict[str, Any]]:
    """Promote, roll back and promote what is damaged under load; check all of the output.

    `ids` are the checkpoint in use, one to swap to, and one that is damaged in the registry.

    :raises AssertionError: if a row is lost, twice, mixed, or by a checkpoint that it must not be.
    """
    scene = swaps.scene
    scene.wait_for_progress()
    gaps = {"without a change": swaps.hold()}
    swaps.promote("promotion", ids[1])
    gaps["promotion"] = swaps.hold()
    swaps.roll_back()
    gaps["rollback"] = swaps.hold()
    damage(swaps.registry, ids[2])
    swaps.promote("damaged", ids[2], expected=ids[0])
    gaps["damaged"] = swaps.hold()
    wanted = {"checkpoint_swaps": 2, "checkpoints_refused": 1}
    scene.wait_until(
        lambda: {name: metric(scene.flink.metrics(), name) for name in wanted} == wanted,
        what=f"the metrics {wanted}",
    )
    found = scene.finish(at_least=at_least)
    rows = check_turns(found, swaps.turns, first=ids[0], pace=swaps.pace)
    seconds = first_rows(found, swaps.turns)
    return found, {
        "messages": len(scene.load.sender.ledger),
        "rows_by_checkpoint": rows,
        "longest_gap_seconds": {kind: round(gap, 2) for kind, gap in gaps.items()},
        "seconds_to_first_row": {
            turn.kind: one for turn, one in zip(swaps.turns, seconds, strict=True)
        },
        "worker_mib": [round(x / 2**20) for x in swaps.memory],
        "worker_sockets": swaps.sockets,
    }


def check_turns(found: Output, turns: Sequence[Turn], *, first: str, pace: Pace) -> dict[str, int]:
    """Check which checkpoint made each row; return how many each made.

    A row may be by what was to be in use at its time, or at any time in the grace before it.
    """
    grace = timedelta(seconds=pace.look_seconds + pace.grace_seconds)
    begins = [turn.when for turn in turns]
    expected = [first, *(turn.expected for turn in turns)]
    rows: Counter[str] = Counter()
    wrong = []
    for place, row in found.citations.items():
        made = row["annotated_at"]
        allowed = set(expected[bisect_right(begins, made - grace) : bisect_right(begins, made) + 1])
        rows[row["checkpoint_id"]] += 1
        if row["checkpoint_id"] not in allowed:
            wrong.append((place, made, row["checkpoint_id"], allowed))
    assert not wrong, f"{len(wrong)} rows by a checkpoint that was not in use: {wrong[:5]}"
    ends = [*begins[1:], datetime.max.replace(tzinfo=UTC)]
    for turn, end in zip(turns, ends, strict=True):
        certain = [
            row for row in found.citations.values() if turn.when + grace < row["annotated_at"] < end
        ]
        assert certain, f"no row tells what was in use after {turn.kind}"
    return dict(rows)


def first_rows(found: Output, turns: Sequence[Turn]) -> list[float | None]:
    """Return how long after each change the first row by what it made active was annotated."""
    seconds = []
    for turn in turns:
        made = [
            row["annotated_at"]
            for row in found.citations.values()
            if row["checkpoint_id"] == turn.active and row["annotated_at"] >= turn.when
        ]
        seconds.append(round((min(made) - turn.when).total_seconds(), 2) if made else None)
    return seconds


def check_alone(found: Output, folders: Sequence[Path]) -> None:
    """Check a sample of each checkpoint's rows against what that checkpoint gives alone."""
    for folder in folders:
        identity = read_manifest(folder, verify=False).id
        made = {
            place: row for place, row in found.citations.items() if row["checkpoint_id"] == identity
        }
        check_annotations(Output(made, {}, found.mentions), folder, sample=_SAMPLE)


def open_sockets(pid: int) -> int:
    """Return how many sockets a process has open."""
    with suppress(psutil.Error):
        return len(psutil.Process(pid).net_connections("all"))
    return 0


def resident_bytes(pid: int) -> int:
    """Return the resident memory of a process."""
    with suppress(psutil.Error):
        return int(psutil.Process(pid).memory_info().rss)
    return 0


def metric(text: str, name: str) -> int:
    """Return a counter of pubner, summed over the steps that Flink's Prometheus reporter shows."""
    lines = [x for x in text.splitlines() if f"_pubner_{name}{{" in x]
    return round(sum(float(line.rpartition(" ")[2]) for line in lines))
