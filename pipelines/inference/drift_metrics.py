"""Drift of what is annotated, as metrics of each worker process.

Each process counts what it annotates itself, in all of its threads, by checkpoint and UTC day, and
compares it with the reference in the checkpoint's manifest (`worker.drift.index`). Gauges appear
once the day has enough to judge, and hold what the process has seen of the day so far:

* `mentions_per_citation_milli.HEAD`: a head's mentions per thousand citations;
* `drift_psi_permille.HEAD`: the excess of its scores' population stability index, in thousandths;
* `unknown_pieces_permille`: unknown word pieces in a thousand.

They are those of the checkpoint in use, whose id `active_checkpoint.ID` shows. Where another one
takes its place they fall to 0, which stands for *not judged yet*, as do those of heads that the new
one lacks. Every block shows all of them again, since a thread's gauges are its own.

The counters `drift_warnings` and, where it is about a head, `drift_warnings.HEAD` rise by one the
first time that a process finds something drifted: once for each checkpoint, day and kind.
"""

import logging
import threading
from collections.abc import Mapping
from datetime import date

from pipelines.blocks.elements import AnnotatedBlock
from pipelines.telemetry.logs import log
from pipelines.telemetry.metrics import count, gauge
from schemas.manifest import DriftReference
from worker.drift.index import DriftKind, DriftLimits, DriftWarning, head_drift, judge
from worker.drift.tally import DayTally, DriftTally, tally_of, utc_day
from worker.tagger import Tagger

_KEPT_DAYS = 4
"""Tallies that are kept, the ones last in use: those of two checkpoints around midnight."""

_Told = tuple[DriftKind | None, str]
"""A kind of warning and its head; without a kind, that there is no reference."""


class DriftMetrics:
    """What a worker process has annotated, and what of it drifts.

    One object serves a process: all its threads may give it their blocks at once, and each warning
    is told by one of them. A copy made by pickling begins empty.
    """

    def __init__(self, limits: DriftLimits | None = None) -> None:
        self._limits = limits or DriftLimits()
        self._lock = threading.Lock()
        self._tally = DriftTally()
        self._told: dict[tuple[str, date], set[_Told]] = {}
        self._checkpoint_id = ""
        self._gauges: dict[str, int] = {}

    def __reduce__(self) -> tuple[type["DriftMetrics"], tuple[DriftLimits]]:
        """Leave out what was counted and the lock."""
        return type(self), (self._limits,)

    @property
    def days(self) -> Mapping[tuple[str, date], DayTally]:
        """What was counted, by checkpoint id and day."""
        with self._lock:
            return self._tally.days

    def observe(self, block: AnnotatedBlock, tagger: Tagger) -> None:
        """Count a block that `tagger` has annotated, and show what is so by now."""
        found = [one.annotation for one in block.citations if one.annotation is not None]
        if not found:
            return
        key = block.checkpoint_id, utc_day(block.annotated_at)
        added = tally_of(found)
        with self._lock:
            tally = self._tally.add(*key, added)
            told = self._remember(key)
            reference = tagger.reference
            warnings = judge(tally, reference, self._limits) if reference is not None else []
            fresh = [one for one in warnings if (one.kind, one.head) not in told]
            told.update((one.kind, one.head) for one in fresh)
            unreferenced = reference is None and (None, "") not in told
            if unreferenced:
                told.add((None, ""))
            if key[0] != self._checkpoint_id:
                self._checkpoint_id, self._gauges = key[0], dict.fromkeys(self._gauges, 0)
            if tally.citations >= self._limits.citations:
                heads = [task.name for task in tagger.tasks]
                self._gauges |= _gauges(tally, heads, reference, self._limits)
            for name, value in self._gauges.items():  # one thread at a time: the last is the newest
                gauge(name, value)
        if unreferenced:
            log("no drift reference", checkpoint_id=key[0])
        for warning in fresh:
            _warn(warning, *key)

    def _remember(self, key: tuple[str, date]) -> set[_Told]:
        """Return what was told of a day already; drop the days whose last block is longest ago."""
        told = self._told.pop(key, set())
        self._told[key] = told
        while len(self._told) > _KEPT_DAYS:
            oldest = next(iter(self._told))
            del self._told[oldest]
            self._tally.forget(*oldest)
        return told


def _gauges(
    tally: DayTally, heads: list[str], reference: DriftReference | None, limits: DriftLimits
) -> dict[str, int]:
    found: dict[str, int] = {}
    for head in heads:
        rate = tally.mentions_per_citation(head)
        found[f"mentions_per_citation_milli.{head}"] = round(1000 * rate)
        expected = None if reference is None else reference.heads.get(head)
        if expected is None or tally.mentions(head) < limits.mentions:
            continue
        excess = head_drift(tally, head, expected).psi_excess
        if excess is not None:
            found[f"drift_psi_permille.{head}"] = round(1000 * excess)
    if tally.unknown_share is not None:
        found["unknown_pieces_permille"] = round(1000 * tally.unknown_share)
    return found


def _warn(warning: DriftWarning, checkpoint_id: str, day: date) -> None:
    count("drift_warnings")
    if warning.head:
        count(f"drift_warnings.{warning.head}")
    log(
        "drift",
        level=logging.WARNING,
        kind=str(warning.kind),
        detail=warning.message,
        checkpoint_id=checkpoint_id,
        day=day.isoformat(),
    )
