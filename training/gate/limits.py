"""The tolerances of the gate: how much worse, slower or different a candidate may be."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """The tolerances; a figure equal to its limit passes.

    `max_f1_drop` is in points of strict F1, per head and set; `max_ece_rise` from 0 to 1, per head
    and set; `min_speed` the candidate's speed over the active one's. `max_changed_share` is the
    maximum fraction of the canary's citations in which the mentions of one entity type change,
    `max_changed_mentions` the maximum fraction of an entity type's mentions (of either checkpoint)
    that change; both from 0 to 1. With `allow_lost_heads` a candidate may lack heads or labels of
    the active checkpoint; with `canary_only` it may pass without an evaluation set.

    The defaults for the canary come from a measurement on 300 abstracts; each figure is the maximum
    over entity types. The shipped checkpoint and its predecessor, with another recipe and encoder,
    differ in 70 % of the citations (Gene) and 48 % of the mentions (DNA), though their F1 differs
    by only a few points: rare and long mentions change with every training run. With shuffled rows
    of its heads the checkpoint changes 100 % and 100 %, with two heads swapped 95 % and 99 %. A
    canary alone detects a broken checkpoint, but not which of two is better: 30 % of noise on all
    weights changes 58 % and 39 %.
    """

    max_f1_drop: float = 0.5
    max_ece_rise: float = 0.02
    min_speed: float = 0.8
    max_changed_share: float = 0.85
    max_changed_mentions: float = 0.7
    allow_lost_heads: bool = False
    canary_only: bool = False
