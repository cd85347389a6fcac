"""`pubner drift`: its options."""

from datetime import date
from pathlib import Path

from pydantic import Field

from worker.cli.common_options import CacheOptions, json_option
from worker.cli.paths import ExistingFolder
from worker.drift.index import DriftLimits

_USUAL = DriftLimits()


class DriftSettings(CacheOptions):
    """The options of `pubner drift`."""

    output: ExistingFolder = Field(
        description="the output of annotate or stream: a folder, or s3://…"
    )
    checkpoint: tuple[str, ...] = Field(
        ("default",),
        description="checkpoints whose references are compared with: folders, `default`, or ids of "
        "--registry; those that annotated nothing here are ignored",
    )
    registry: ExistingFolder | None = Field(
        None,
        description="a checkpoint registry, whose references are compared with too; they "
        "have precedence over the shipped checkpoint's, but not over those of named checkpoints",
    )
    since: date | None = Field(None, description="the first day (UTC), as 2026-01-31")
    until: date | None = Field(None, description="the last day (UTC)")
    sample: int = Field(
        1000,
        ge=0,
        description="texts per day in which unknown word pieces are counted; 0 counts none, and "
        "fetches no checkpoint from a registry; fewer than --min-citations are not judged",
    )
    max_psi: float = Field(
        _USUAL.psi,
        gt=0,
        description="warn where the scores' population stability index is more, beyond chance",
    )
    max_mentions_change: float = Field(
        _USUAL.mentions_change,
        gt=0,
        description="warn where a head's mentions per citation change by more than this fraction",
    )
    max_unknown_factor: float = Field(
        _USUAL.unknown_factor,
        ge=1,
        description="warn where unknown word pieces exceed the reference's fraction by this factor",
    )
    max_unknown_points: float = Field(
        _USUAL.unknown_points,
        ge=0,
        description="… and by more than this fraction of all word pieces",
    )
    min_citations: int = Field(
        _USUAL.citations, ge=1, description="judge no day with fewer citations"
    )
    min_mentions: int = Field(
        _USUAL.mentions, ge=1, description="judge no head with fewer mentions"
    )
    html: Path | None = Field(None, description="write a page (HTML) with plots")
    fail_on_warning: bool = Field(False, description="exit with 1 where there is a warning")
    json_file: str | None = json_option("all figures")

    def limits(self) -> DriftLimits:
        """Return the limits that the options set."""
        return DriftLimits(
            psi=self.max_psi,
            mentions_change=self.max_mentions_change,
            unknown_factor=self.max_unknown_factor,
            unknown_points=self.max_unknown_points,
            citations=self.min_citations,
            mentions=self.min_mentions,
        )
