"""Calibration of heads on devel: fits a temperature and a beta curve for each.

Both minimise the negative log likelihood of the predicted spans' correctness: first the temperature
of the tag scores (Guo et al. 2017, applied to spans instead of classes), then, at that temperature,
the beta curve on the span's score (Kull, Silva Filho & Flach 2017).

A span's score depends on the temperature through the whole lattice, so tag scores are collected
once and decoded again at each temperature. The best path, and so the predicted spans, stay the
same.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import torch

from schemas.errors import TrainingError
from schemas.manifest import HeadCalibration
from schemas.tasks import Task
from training.corpora.spans import spans_of
from training.corpora.tsv import Sentence
from training.evaluation.calibration import Outcomes, outcomes_of
from training.evaluation.predict import (
    Context,
    Reading,
    assign_to_sentences,
    readings_of,
    scored_spans,
)
from training.finetune.scoring import DevelSet
from training.reports.progress import Work
from worker.decoding.calibration import EDGE
from worker.decoding.cpu import decode, head_layout
from worker.decoding.mentions import mentions_of
from worker.network.encoder import Encoder, load_encoder
from worker.system.batching import in_groups
from worker.tagger import BatchLimits, CheckpointTagger, ScoredText

FIT_CONTEXT: Final = Context.WINDOW
"""The context in which devel is read: windows resemble annotated abstracts most, and a calibration
fitted in either context fits the other as well."""

_TEXTS_AT_ONCE = 256
_TEMPERATURES: Final = (0.25, 8.0)
_TOLERANCE = 1e-3
_PRIOR_SPANS = 1.0
"""Weight, in spans, of the prior towards the identity curve, so that few spans cannot bend it."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class HeadScores:
    """The tag scores of one head on gold sentences; `scored` has one item per text read.

    The tags of `scored` are those of `task` alone.
    """

    task: Task
    sentences: Sequence[Sentence]
    readings: Sequence[Reading]
    scored: Sequence[ScoredText]


def collect_scores(
    encoder: Encoder,
    task: Task,
    sentences: Sequence[Sentence],
    context: Context,
    progress: Callable[[int], None] = lambda _: None,
) -> HeadScores:
    """Score `sentences`, read in `context`, with the head of `task`, before decoding.

    :param encoder: one without calibration, so that what is fitted does not depend on an older one
    :param progress: called with the number of texts read
    """
    tagger = CheckpointTagger(encoder, BatchLimits())
    part = head_layout(encoder.tasks).slices[encoder.tasks.index(task)]
    readings = readings_of(sentences, context)
    scored: list[ScoredText] = []
    for group in in_groups((reading.text for reading in readings), _TEXTS_AT_ONCE):
        scored += [
            ScoredText(text.pieces, text.scores[:, part].copy())
            for text in tagger.tag_scores(group)
        ]
        progress(len(group))
    return HeadScores(task, sentences, readings, scored)


def outcomes_at(head: HeadScores, calibration: HeadCalibration) -> Outcomes:
    """Return the scores and correctness of the spans that the head predicts with `calibration`."""
    divisor = np.float32(calibration.temperature)
    runs = decode(
        head_layout([head.task]),
        [text.scores / divisor for text in head.scored],
        [text.pieces.line_lengths for text in head.scored],
    )
    found = [
        scored_spans(
            mentions_of(
                [head.task],
                text.pieces,
                decoded,
                checkpoint_id="",
                calibration={head.task.name: calibration},
            ),
            head.task.name,
        )
        for text, decoded in zip(head.scored, runs, strict=True)
    ]
    gold = [spans_of(sentence) for sentence in head.sentences]
    return outcomes_of(gold, assign_to_sentences(head.readings, found, len(head.sentences)))


def fit_head(head: HeadScores) -> HeadCalibration:
    """Return the temperature and the beta curve that minimise the negative log likelihood.

    Without a predicted span nothing can be fitted, and the default is returned. The fit is
    deterministic: the same scores give the same calibration to the last digit.
    """
    if not len(outcomes_at(head, HeadCalibration()).scores):
        return HeadCalibration()

    def loss(log_temperature: float) -> float:
        at = HeadCalibration(temperature=math.exp(log_temperature))
        return log_loss(outcomes_at(head, at))

    low, high = (math.log(bound) for bound in _TEMPERATURES)
    temperature = round(math.exp(golden_section(loss, low, high, _TOLERANCE)), 4)
    a, b, c = fit_curve(outcomes_at(head, HeadCalibration(temperature=temperature)))
    return HeadCalibration(temperature=temperature, a=a, b=b, c=c)


def log_loss(outcomes: Outcomes) -> float:
    """Return the mean negative log likelihood of the outcomes under their scores; in nats."""
    scores = np.clip(outcomes.scores, EDGE, 1.0 - EDGE)
    return -float(np.where(outcomes.right, np.log(scores), np.log1p(-scores)).mean())


def fit_curve(outcomes: Outcomes) -> tuple[float, float, float]:
    """Return a, b and c of the maximum-likelihood beta curve, with a and b not below 0.

    A logistic regression on ln s and -ln(1 - s). Where a or b would be negative, and the curve not
    monotone, it is fixed at 0, as in the paper.
    """
    scores = np.clip(outcomes.scores, EDGE, 1.0 - EDGE)
    columns = np.stack([np.log(scores), -np.log1p(-scores), np.ones_like(scores)], axis=1)
    free = np.array([True, True, True])
    for _ in range(3):
        weights = _logistic(columns, outcomes.right, free)
        below = (weights < 0) & np.array([True, True, False])
        if not below.any():
            break
        free[int(np.where(below, weights, np.inf).argmin())] = False
    a, b, c = (round(float(weight), 4) + 0.0 for weight in weights)
    return a, b, c


def _logistic(columns: Floats, right: npt.NDArray[np.bool_], free: npt.NDArray[np.bool_]) -> Floats:
    """Fit the free weights by Newton's method, shape (3,); the others are 0."""
    prior = np.where(free, np.array([1.0, 1.0, 0.0]), 0.0)
    weights = prior.copy()

    def loss(at: Floats) -> float:
        odds = columns @ at
        fit = np.logaddexp(0.0, np.where(right, -odds, odds)).sum()
        return float(fit + 0.5 * _PRIOR_SPANS * ((at - prior) ** 2).sum())

    for _ in range(100):
        probability = 0.5 * (1.0 + np.tanh(0.5 * (columns @ weights)))
        slope = columns.T @ (probability - right) + _PRIOR_SPANS * (weights - prior)
        bend = (columns * (probability * (1 - probability))[:, None]).T @ columns
        bend += _PRIOR_SPANS * np.eye(3)
        step = np.zeros(3)
        step[free] = np.linalg.solve(bend[np.ix_(free, free)], slope[free])
        now, share = loss(weights), 1.0
        while share > 1e-8 and loss(weights - share * step) > now:
            share *= 0.5
        weights = weights - share * step
        if np.abs(share * step).max() < 1e-9:
            break
    return weights


def golden_section(
    function: Callable[[float], float], low: float, high: float, tolerance: float
) -> float:
    """Return the minimiser of the unimodal `function` between `low` and `high` (Kiefer 1953).

    The point returned was itself evaluated, and the minimum is within `tolerance` of it.
    """
    ratio = (math.sqrt(5.0) - 1.0) / 2.0
    left, right = high - ratio * (high - low), low + ratio * (high - low)
    at_left, at_right = function(left), function(right)
    while high - low > tolerance:
        if at_left <= at_right:
            high, right, at_right = right, left, at_left
            left = high - ratio * (high - low)
            at_left = function(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + ratio * (high - low)
            at_right = function(right)
    return left if at_left <= at_right else right


def calibrate_on_devel(
    checkpoint: Path | Encoder,
    devel: Sequence[DevelSet],
    device: torch.device,
    *,
    context: Context = FIT_CONTEXT,
    work: Work | None = None,
) -> dict[str, HeadCalibration]:
    """Fit each head of `devel` on its devel sentences, read in `context`.

    :param checkpoint: a folder, loaded onto `device` without any calibration it may have, or an
        encoder loaded in that way, which stays on its device
    :return: the calibration by head, for `worker.checkpoint.folder.write_manifest`
    :raises TrainingError: if the checkpoint has no such head.
    """
    encoder = (
        checkpoint
        if isinstance(checkpoint, Encoder)
        else load_encoder(checkpoint, device=str(device), calibrated=False)
    )
    fitted = {}
    for part in devel:
        if part.task not in encoder.tasks:
            names = ", ".join(task.name for task in encoder.tasks)
            raise TrainingError(
                f"nothing to calibrate: the checkpoint has no head {part.task.name!r} with the "
                f"labels {', '.join(part.task.label_names)}; it has {names}"
            )
        total = len(readings_of(part.sentences, context))
        what = f"calibrating {part.task.name}"
        with (work or Work()).stage(what, total, "texts") as stage:
            fitted[part.task.name] = fit_head(
                collect_scores(encoder, part.task, part.sentences, context, stage.advance)
            )
    return fitted
