"""Calibration: turns a head's scores into probabilities that a mention is correct.

It has two steps, both monotone, so that the mentions do not change:

* *Temperature* (Guo et al. 2017): the head's tag scores are divided by it. It is folded into the
  weights of the heads at loading, so that it applies to every network and decoder.
* *Beta curve* (Kull, Silva Filho & Flach 2017) on the span's score. The score is a product over
  the mention's tags, not a single class probability, so a temperature alone cannot calibrate it.
"""

import math
from collections.abc import Mapping
from typing import Final

import torch
from torch import Tensor

from schemas.manifest import HeadCalibration
from worker.decoding.cpu import HeadLayout

EDGE: Final = 1e-6
"""Scores are clipped to this distance from 0 and 1 before the curve: float32's accuracy near 1."""


def scale_heads(
    weights: Mapping[str, Tensor], layout: HeadLayout, calibration: Mapping[str, HeadCalibration]
) -> dict[str, Tensor]:
    """Return `weights` with the head rows divided by their temperatures.

    The rows are those of `heads.weight` and `heads.bias`. Scaled rows are always fp32, because
    fp16 would round tag scores and change mentions.
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
        if rows is not None and len(rows) == layout.width:  # otherwise the loader refuses it
            scaled[name] = rows.float() / divisor.reshape(-1, *[1] * (rows.dim() - 1))
    return scaled


def calibrated(score: float, head: HeadCalibration | None) -> float:
    """Return the calibrated probability, 0 to 1, of a span with `score` by a head's beta curve."""
    if head is None or (head.a == head.b == 1.0 and head.c == 0.0):
        return score
    score = min(max(score, EDGE), 1.0 - EDGE)
    odds = head.a * math.log(score) - head.b * math.log1p(-score) + head.c
    return 1.0 / (1.0 + math.exp(-odds)) if odds >= 0 else math.exp(odds) / (1.0 + math.exp(odds))
