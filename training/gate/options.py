"""The gate's options, which `pubner checkpoint promote` and `pubner retrain` share."""

from dataclasses import fields

from pydantic import Field

from training.corpora.catalogue import Split
from training.evaluation.predict import Context
from training.gate.limits import Limits
from worker.cli.common_options import CacheOptions, ComputeOptions, CorporaOptions

_LIMITS = Limits()


class GateSettings(ComputeOptions, CorporaOptions, CacheOptions):
    """What the gate measures on, and what it tolerates."""

    split: Split = Field(Split.DEVEL, description="the part of each corpus to score on; never test")
    context: Context = Field(
        Context.WINDOW,
        description="context: each sentence alone, or windows of eight joined, which "
        "is nearer to whole citations",
    )
    documents: tuple[str, ...] = Field(
        (),
        description="PubTator files with gold mentions, scored end to end; HEAD=FILE names the "
        "head",
    )
    canary: tuple[str, ...] = Field(
        (),
        description="recent citations whose mentions are compared: PubMed XML, PubTator or JSONL "
        "files, folders of them, or globs",
    )
    canary_limit: int = Field(
        500, ge=1, description="citations of the canary, spread over its files"
    )
    max_f1_drop: float = Field(
        _LIMITS.max_f1_drop, ge=0, description="points of strict F1 that a head may lose on a set"
    )
    max_ece_rise: float = Field(
        _LIMITS.max_ece_rise,
        ge=0,
        description="how much a head's expected calibration error may rise, from 0 to 1",
    )
    min_speed: float = Field(
        _LIMITS.min_speed,
        ge=0,
        description="the least speed, as a share of the active checkpoint's on the same batch",
    )
    max_changed_share: float = Field(
        _LIMITS.max_changed_share,
        ge=0,
        le=1,
        description="the largest share of the canary's citations in which mentions of one entity "
        "type may change",
    )
    max_changed_mentions: float = Field(
        _LIMITS.max_changed_mentions,
        ge=0,
        le=1,
        description="the largest share of an entity type's mentions in the canary that may change",
    )
    allow_lost_heads: bool = Field(
        False, description="allow the candidate to lack heads and labels of the active checkpoint"
    )
    canary_only: bool = Field(
        False,
        description="judge by the canary alone if no evaluation set scores a head; it detects a "
        "broken checkpoint, but not a slightly worse one",
    )

    def limits(self) -> Limits:
        """Return the tolerances."""
        return Limits(**{limit.name: getattr(self, limit.name) for limit in fields(Limits)})
