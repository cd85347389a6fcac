"""Calibration: what makes a head's scores the probability that a mention is right.

In two steps, both of them monotone, so that no mention changes:

* *Temperature* (Guo et al. 2017): the head's tag scores are divided by it. It lies in the weights
  of the heads from loading on, so that every network and every decoder has it.
* *Beta curve* (Kull, Silva Filho & Flach 2017) on the span's score, which is a product over the
  mention's tags, too far from one probability of one class for a temperature alone to mend.
"""

import math
from collections.abc import Mapping
from typing import Final

import torch
from torch import Tensor

from schemas.manifest import HeadCalibration
from worker.decoding.cpu import HeadLayout

EDGE: Final = 1e-6
"""Scores are kept this far from 0 and 1 before the curve: float32 holds them no better near 1."""


def scale_heads(
    weights: Mapping[str, Tensor], layout: HeadLayout, calibration: Mapping[str, HeadCalibration]
) -> dict[str, Tensor]:
    """Return `weights` with each head's rows of `heads.weight` and `heads.bias` by temperature.

    Scaled rows are fp32, whatever they were: fp16 would round tag scores, and move mentions.
    """
    scaled = dict(weights)
    if not calibration:
        return scaled
    divisor = torch.ones(layout.width)
    for task, part in zip(layout.tasks, layout.slices, strict=True):
        if task.name in calibration:
            divisor[part] = calibration[task.name].temperature
    for name in ("heads.weight", "heads.bias"):
        rows = weights.get(name)
        if rows is not None and len(rows) == layout.width:  # else whoever loads it refuses it
            scaled[name] = rows.float() / divisor.reshape(-1, *[1] * (rows.dim() - 1))
    return scaled


def calibrated(score: float, head: HeadCalibration | None) -> float:
    """Return the probability that a head's curve gives a span of `score`, 0 to 1."""
    if head is None or (head.a == head.b == 1.0 and head.c == 0.0):
        return score
    score = min(max(score, EDGE), 1.0 - EDGE)
    odds = head.a * math.log(score) - head.b * math.log1p(-score) + head.c
    return 1.0 / (1.0 + math.exp(-odds)) if odds >= 0 else math.exp(odds) / (1.0 + math.exp(odds))
