"""The drift report of an output, by checkpoint and day."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from enum import StrEnum
from typing import Any

import numpy as np

from schemas.manifest import DriftReference
from training.drift.known import Known, KnownCheckpoint
from training.drift.reading import Key, Sample, StoredOutput
from worker.drift.index import DriftLimits, DriftWarning, HeadDrift, head_drift, judge
from worker.drift.tally import DayTally, DriftTally, reference_from
from worker.system.batching import in_groups
from worker.text.tokenisation import WordPieceTokeniser

_TEXTS_AT_ONCE = 256


class NotJudged(StrEnum):
    """The reason why a day is not judged."""

    FEW = "few_citations"
    FEW_IN_REFERENCE = "few_citations_in_reference"
    ITSELF = "is_the_reference"


@dataclass(frozen=True, slots=True, eq=False)
class DayReport:
    """One day: its counts, the comparison of each head with the reference, and the warnings.

    `not_judged` is the reason why the day was not judged; None if it was.
    """

    day: date
    tally: DayTally
    heads: Mapping[str, HeadDrift]
    warnings: tuple[DriftWarning, ...]
    not_judged: NotJudged | None


@dataclass(frozen=True, slots=True, eq=False)
class CheckpointReport:
    """The days of one checkpoint or set, in order.

    `reference` is its own if `has_reference`, else its first day in this output. `available` is
    True if the checkpoint was given, or is in the registry.
    """

    checkpoint_id: str
    available: bool
    has_reference: bool
    reference: DriftReference
    days: tuple[DayReport, ...]

    @property
    def heads(self) -> tuple[str, ...]:
        """The heads with counts in the reference or on any day."""
        return tuple(dict.fromkeys(head for day in self.days for head in day.heads))

    @property
    def compared_with(self) -> str:
        """A description of what its days are compared with."""
        if self.has_reference:
            return f"its reference, {self.reference.citations:,} citations of {self.reference.name}"
        why = (
            "it has no reference"
            if self.available
            else "it was not given with --checkpoint, and no --registry has it"
        )
        first = self.days[0]
        return f"its own first day, {first.day}, {first.tally.citations:,} citations: {why}"

    @property
    def not_judged(self) -> Mapping[NotJudged, int]:
        """The number of days not judged, by reason."""
        return Counter(day.not_judged for day in self.days if day.not_judged is not None)

    def not_judged_sentences(self, limits: DriftLimits) -> list[str]:
        """Return one sentence per reason on the days not judged."""
        few = f"fewer than {limits.citations:,} citations"
        of = f"of {len(self.days):,} days"
        sentences = []
        for why, count in self.not_judged.items():
            are = "is" if count == 1 else "are"
            if why is NotJudged.FEW:
                have = "has" if count == 1 else "have"
                sentences.append(f"{count:,} {of} {have} {few}: not judged")
            elif why is NotJudged.FEW_IN_REFERENCE:
                sentences.append(f"{count:,} {of} {are} not judged: the reference has {few}")
            else:
                sentences.append(
                    f"{count:,} {of} {are} what the others are compared with: not judged"
                )
        return sentences


@dataclass(frozen=True, slots=True, eq=False)
class DriftReport:
    """The drift report: all checkpoints of an output, by id, and the limits."""

    output: str
    limits: DriftLimits
    checkpoints: tuple[CheckpointReport, ...]

    @property
    def warnings(self) -> list[tuple[str, date, DriftWarning]]:
        """Every warning with its checkpoint's id and day."""
        return [
            (one.checkpoint_id, day.day, warning)
            for one in self.checkpoints
            for day in one.days
            for warning in day.warnings
        ]

    @property
    def day_count(self) -> int:
        """The days of all checkpoints."""
        return sum(len(one.days) for one in self.checkpoints)

    @property
    def not_judged(self) -> Mapping[str, int]:
        """The number of days not judged, by checkpoint id; zero counts are omitted."""
        counts = {one.checkpoint_id: sum(one.not_judged.values()) for one in self.checkpoints}
        return {name: count for name, count in counts.items() if count}


def gather(
    output: StoredOutput,
    known: Known,
    *,
    since: date | None = None,
    until: date | None = None,
    sample: int = 1000,
    progress: Callable[[], None] | None = None,
) -> DriftTally:
    """Count the stored annotations, by checkpoint and day.

    Word pieces are counted in the texts of `sample` citations per day, if texts are stored and the
    checkpoint is known. These are chosen by a hash of their offsets, so are the same each time.
    `progress` is called once per block.

    :raises PubnerError: if a file or its checkpoint cannot be read.
    """
    tally, samples, name = DriftTally(), dict[Key, Sample](), ""
    tokenisers: dict[str, Sequence[WordPieceTokeniser]] = {}
    for block in output.block_days(since, until):
        tally.add(*block.key, DayTally(citations=len(block.offsets), cells=block.cells))
        checkpoint = known.get(block.key[0])
        if sample and checkpoint is not None and checkpoint.tokenisers:
            before = samples.get(block.key) or Sample.empty(sample)
            samples[block.key] = before.with_block(block)
            tokenisers[block.key[0]] = checkpoint.tokenisers
        if progress is not None and block.name != name:
            progress()
        name = block.name
    for key, chosen in samples.items():
        for file, offsets in chosen.by_block():
            texts = output.texts(file, offsets)
            tally.add(*key, _count_pieces(texts, tokenisers[key[0]]))
    return tally


def _count_pieces(texts: Sequence[str], tokenisers: Sequence[WordPieceTokeniser]) -> DayTally:
    pieces = unknown = 0
    for group in in_groups(texts, _TEXTS_AT_ONCE):
        for tokeniser in tokenisers:
            for one in tokeniser.encode(group):
                pieces += len(one)
                unknown += int(np.count_nonzero(one.ids == tokeniser.unknown_id))
    return DayTally(texts=len(texts), word_pieces=pieces, unknown_pieces=unknown)


def make_report(place: str, tally: DriftTally, known: Known, limits: DriftLimits) -> DriftReport:
    """Compare each checkpoint's days with its reference, or else with its first day."""
    by_checkpoint: dict[str, dict[date, DayTally]] = {}
    for (checkpoint_id, day), found in tally.days.items():
        by_checkpoint.setdefault(checkpoint_id, {})[day] = found
    return DriftReport(
        place,
        limits,
        tuple(
            _checkpoint_report(name, known.get(name), days, limits)
            for name, days in by_checkpoint.items()
        ),
    )


def _checkpoint_report(
    name: str, known: KnownCheckpoint | None, days: Mapping[date, DayTally], limits: DriftLimits
) -> CheckpointReport:
    found = [head for tally in days.values() for head in sorted(tally.cells)]
    heads = tuple(dict.fromkeys([*(known.heads if known is not None else ()), *found]))
    own = known.reference if known is not None else None
    first = next(iter(days))
    reference = own or reference_from(days[first], heads, name=f"the day {first}", sha256="")
    return CheckpointReport(
        name,
        known is not None,
        own is not None,
        reference,
        tuple(
            DayReport(
                day,
                tally,
                {head: head_drift(tally, head, reference.heads.get(head)) for head in heads},
                tuple(judge(tally, reference, limits)),
                _why_not_judged(tally, reference, limits, itself=own is None and day == first),
            )
            for day, tally in days.items()
        ),
    )


def _why_not_judged(
    tally: DayTally, reference: DriftReference, limits: DriftLimits, *, itself: bool
) -> NotJudged | None:
    if tally.citations < limits.citations:
        return NotJudged.FEW
    if reference.citations < limits.citations:
        return NotJudged.FEW_IN_REFERENCE
    return NotJudged.ITSELF if itself else None


def report_json(report: DriftReport) -> dict[str, Any]:
    """Return the report as JSON values."""
    return {
        "output": report.output,
        "limits": asdict(report.limits),
        "days": report.day_count,
        "days_not_judged": sum(report.not_judged.values()),
        "checkpoints": [
            {
                "id": one.checkpoint_id,
                "at_hand": one.available,
                "has_reference": one.has_reference,
                "compared_with": one.compared_with,
                "reference": one.reference.model_dump(mode="json") if one.has_reference else None,
                "not_judged": one.not_judged_sentences(report.limits),
                "days": [_day_json(day) for day in one.days],
            }
            for one in report.checkpoints
        ],
    }


def _day_json(day: DayReport) -> dict[str, Any]:
    return {
        "day": day.day.isoformat(),
        "citations": day.tally.citations,
        "sampled_texts": day.tally.texts,
        "unknown_share": day.tally.unknown_share,
        "heads": {
            head: {**asdict(drift), "psi_excess": drift.psi_excess}
            for head, drift in day.heads.items()
        },
        "not_judged": day.not_judged,
        "warnings": [
            {**asdict(warning), "kind": str(warning.kind), "message": warning.message}
            for warning in day.warnings
        ],
    }
