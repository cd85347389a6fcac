"""The gate's report on a candidate, as a record and as JSON."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Literal

from schemas.manifest import CheckpointManifest
from training.evaluation.errors import Comparison, Outcome
from training.gate.canary import CanaryReport, Example
from training.gate.judging import Breach, Measured, notes_of
from training.gate.limits import Limits

FORMAT_VERSION = 1

Verdict = Literal["passed", "refused", "forced"]

CHANGES = {Outcome.MISS: "lost", Outcome.SPURIOUS: "gained", Outcome.CORRECT: "same"}
"""The change of a mention by outcome; every other outcome is `altered`."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A manifest entry that differs; None if a manifest lacks it."""

    entry: str
    active: str | None
    candidate: str | None


@dataclass(frozen=True, slots=True)
class GateReport:
    """The gate's report on one promotion request; `force` is the reason to promote it anyway.

    `force` does not overrule a `final` breach.
    """

    registry: str
    candidate: str
    active: str | None
    who: str
    when: datetime
    why: str
    force: str | None
    settings: Mapping[str, str]
    limits: Limits
    measured: Measured
    breaches: tuple[Breach, ...]
    differences: tuple[Difference, ...]

    @property
    def verdict(self) -> Verdict:
        """The verdict: passed, refused, or forced."""
        if not self.breaches:
            return "passed"
        return "refused" if self.force is None or self.is_final else "forced"

    @property
    def is_final(self) -> bool:
        """Whether a breach cannot be overruled by force."""
        return any(breach.final for breach in self.breaches)

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes for the person who decides, in addition to the breaches."""
        return notes_of(self.measured)


def manifest_differences(
    active: CheckpointManifest | None, candidate: CheckpointManifest
) -> tuple[Difference, ...]:
    """Return the differences of the manifests, in order; none without an active one.

    Ids, file digests and metrics that the gate measures itself are omitted.
    """
    if active is None:
        return ()
    old, new = _entries(active), _entries(candidate)
    return tuple(
        Difference(entry, old.get(entry), new.get(entry))
        for entry in dict.fromkeys((*old, *new))
        if old.get(entry) != new.get(entry)
    )


def _entries(manifest: CheckpointManifest) -> dict[str, str]:
    out = {
        "kind": manifest.kind,
        "encoder": manifest.encoder_source,
        "letter case": str(manifest.letter_case),
        "word pieces a window": str(manifest.max_pieces),
    }
    for task in manifest.tasks:
        out[f"head {task.name}"] = ", ".join(
            f"{label.name} ({label.entity_type})" for label in task.labels
        )
    for corpus in manifest.corpora:
        out[f"corpus {corpus.name}"] = (
            f"{corpus.split}, {corpus.sentences:,} sentences, {corpus.mentions:,} mentions, "
            f"SHA-256 {corpus.sha256[:12]}"
        )
    out |= {f"recipe {name}": str(value) for name, value in manifest.recipe.items()}
    out |= {
        f"calibration {name}": f"temperature {head.temperature:.3g}, a {head.a:.3g}, "
        f"b {head.b:.3g}, c {head.c:.3g}"
        for name, head in manifest.calibration.items()
    }
    return out | {f"version {name}": value for name, value in manifest.versions.items()}


def report_json(report: GateReport) -> dict[str, Any]:
    """Return the report as JSON values."""
    measured = report.measured
    return {
        "format_version": FORMAT_VERSION,
        "verdict": report.verdict,
        "registry": report.registry,
        "candidate": report.candidate,
        "active": report.active,
        "who": report.who,
        "when": report.when.isoformat(),
        "why": report.why,
        "force": report.force,
        "settings": dict(report.settings),
        "limits": asdict(report.limits),
        "breaches": [asdict(breach) for breach in report.breaches],
        "notes": list(report.notes),
        "heads": asdict(measured.heads),
        "sets": [asdict(one) for one in measured.sets],
        "speed": None if measured.speed is None else asdict(measured.speed),
        "canary": None if measured.canary is None else _canary_json(measured.canary),
        "manifest": [asdict(difference) for difference in report.differences],
    }


def _canary_json(canary: CanaryReport) -> dict[str, Any]:
    return {
        "files": list(canary.sample.files),
        "left_out": canary.sample.left_out,
        "compared": canary.compared,
        "citations": canary.citations,
        "changed": canary.changed,
        "changed_share": canary.changed_share,
        "mentions": canary.mentions,
        "changed_mentions": canary.changed_mentions,
        "changed_mentions_share": canary.changed_mentions_share,
        "types": [
            {
                **asdict(kind),
                "changed_share": canary.changed_share_of(kind),
                "changed_mentions_share": kind.changed_mentions_share,
            }
            for kind in canary.types
        ],
        "examples": [_example_json(one) for one in canary.examples],
    }


def _example_json(one: Example) -> dict[str, Any]:
    return {
        "entity_type": str(one.entity_type),
        "pmid": one.pmid,
        "source": one.source,
        "head": one.head,
        "changes": [_change_json(change, one.text) for change in one.changes],
    }


def _change_json(change: Comparison, text: str) -> dict[str, Any]:
    return {
        "change": change_of(change),
        **{
            side: None
            if span is None
            else {
                "start": span.start,
                "end": span.end,
                "label": span.label,
                "text": text[span.start : span.end],
            }
            for side, span in (("active", change.gold), ("candidate", change.found))
        },
    }


def change_of(change: Comparison) -> str:
    """Return the change of a mention: same, lost, gained or altered."""
    return CHANGES.get(change.outcome, "altered")
