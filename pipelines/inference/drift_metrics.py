"""Drift metrics of each worker process.

Each process counts its own annotations, in all of its threads, by checkpoint and UTC day, and
compares them with the reference in the checkpoint's manifest (`worker.drift.index`). Gauges appear
once the day has enough citations, and cover what the process has annotated that day:

* `mentions_per_citation_milli.HEAD`: a head's mentions per thousand citations;
* `drift_psi_permille.HEAD`: the excess of its scores' population stability index, in thousandths;
* `unknown_pieces_permille`: unknown word pieces in a thousand.

They describe the checkpoint in use, whose id `active_checkpoint.ID` shows. When another checkpoint
replaces it, they are reset to 0, which means *not judged yet*, including those of heads that the
new one lacks. All gauges are set again with every block, since Beam keeps them for each thread.

The counters `drift_warnings` and, for a warning about a head, `drift_warnings.HEAD` are incremented
when a process first detects a drift: once for each checkpoint, day and kind.
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
"""Number of most recently used tallies that are kept: two checkpoints around midnight."""

_WarningKey = tuple[DriftKind | None, str]
"""The kind of a warning and its head; kind None means that there is no drift reference."""


class DriftMetrics:
    """The annotation counts of a worker process, and its drift metrics and warnings.

    One thread-safe object serves a process: all threads pass their blocks to it, and each warning
    is logged once. An unpickled copy begins empty.
    """

    def __init__(self, limits: DriftLimits | None = None) -> None:
        self._limits = limits or DriftLimits()
        self._lock = threading.Lock()
        self._tally = DriftTally()
        self._reported: dict[tuple[str, date], set[_WarningKey]] = {}
        self._checkpoint_id = ""
        self._gauges: dict[str, int] = {}

    def __reduce__(self) -> tuple[type["DriftMetrics"], tuple[DriftLimits]]:
        """Pickle the limits only, without the counts and the lock."""
        return type(self), (self._limits,)

    @property
    def days(self) -> Mapping[tuple[str, date], DayTally]:
        """The counts by checkpoint id and day."""
        with self._lock:
            return self._tally.days

    def observe(self, block: AnnotatedBlock, tagger: Tagger) -> None:
        """Count a block that `tagger` has annotated, and update gauges and warnings."""
        found = [one.annotation for one in block.citations if one.annotation is not None]
        if not found:
            return
        key = block.checkpoint_id, utc_day(block.annotated_at)
        added = tally_of(found)
        with self._lock:
            tally = self._tally.add(*key, added)
            reported = self._remember(key)
            reference = tagger.reference
            warnings = judge(tally, reference, self._limits) if reference is not None else []
            fresh = [one for one in warnings if (one.kind, one.head) not in reported]
            reported.update((one.kind, one.head) for one in fresh)
            unreferenced = reference is None and (None, "") not in reported
            if unreferenced:
                reported.add((None, ""))
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

    def _remember(self, key: tuple[str, date]) -> set[_WarningKey]:
        """Return the warnings already logged for a key; evict the least recently used keys."""
        reported = self._reported.pop(key, set())
        self._reported[key] = reported
        while len(self._reported) > _KEPT_DAYS:
            oldest = next(iter(self._reported))
            del self._reported[oldest]
            self._tally.forget(*oldest)
        return reported


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
