"""Fitting on devel: temperatures that are known are found again, curves stay monotone."""

import itertools
import math
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.errors import TrainingError
from schemas.manifest import HeadCalibration
from schemas.tags import OUTSIDE, may_follow
from schemas.tasks import TASKS
from tests.support.checkpoints import sign_again, tiny_checkpoint, tiny_tokenizer
from training.corpora.spans import spans_of, tags_of, word_offsets
from training.corpora.tsv import Sentence
from training.evaluation.calibration import Outcomes, calibration_error, outcomes_of
from training.evaluation.predict import Context, predict_scored, readings_of
from training.finetune.calibration import (
    HeadScores,
    calibrate_on_devel,
    collect_scores,
    fit_curve,
    fit_head,
    golden_section,
    log_loss,
    outcomes_at,
)
from training.finetune.scoring import DevelSet
from worker.decoding.calibration import EDGE
from worker.decoding.cpu import head_layout
from worker.network.encoder import load_encoder
from worker.tagger import BatchLimits, CheckpointTagger, ScoredText, Tagger, load_tagger
from worker.text.tokenisation import WordPieceTokeniser

TASK = TASKS["bc2gm"]
CPU = torch.device("cpu")
WORDS = ("gene", "protein", "cell", "cancer", "the", "of")


def sampled_head(factor: float, *, sentences: int = 1500, seed: int = 4) -> HeadScores:
    """Sentences of two words whose tags are drawn from their tag scores, then times `factor`.

    So the head is calibrated at a temperature of `factor`.
    """
    random = np.random.default_rng(seed)
    tags = head_layout([TASK]).tags
    legal = [
        path
        for path in itertools.product(range(len(tags)), repeat=2)
        if all(
            may_follow(a, b)
            for a, b in itertools.pairwise([OUTSIDE, *(tags[tag] for tag in path), OUTSIDE])
        )
    ]
    tokeniser = WordPieceTokeniser(tiny_tokenizer())
    made, scores = [], []
    for _ in range(sentences):
        logits = random.normal(0.0, 2.0, (2, len(tags))).astype(np.float32)
        weights = np.exp([logits[0, a] + logits[1, b] for a, b in legal])
        drawn = legal[int(random.choice(len(legal), p=weights / weights.sum()))]
        words = (str(random.choice(WORDS)), str(random.choice(WORDS)))
        made.append(Sentence(words, tuple(tags[tag] for tag in drawn), 1))
        scores.append(logits * np.float32(factor))
    pieces = tokeniser.encode([" ".join(sentence.words) for sentence in made])
    scored = [ScoredText(*both) for both in zip(pieces, scores, strict=True)]
    return HeadScores(TASK, made, readings_of(made, Context.SENTENCE), scored)


@pytest.mark.parametrize("factor", [0.5, 1.0, 3.0])
def test_the_temperature_that_a_sample_was_made_at_is_found_again(factor: float) -> None:
    head = sampled_head(factor)
    found = fit_head(head)
    assert found.temperature == pytest.approx(factor, rel=0.15)
    assert (found.a, found.b, found.c) == pytest.approx((1.0, 1.0, 0.0), abs=0.4)
    before, after = outcomes_at(head, HeadCalibration()), outcomes_at(head, found)
    assert before.right.tolist() == after.right.tolist(), "what is found does not change"
    assert log_loss(after) <= log_loss(before)
    assert calibration_error(after) < 0.035
    if factor == 3.0:
        assert calibration_error(before) > 2 * calibration_error(after)
    assert fit_head(head) == found


def test_a_curve_mends_what_a_temperature_cannot() -> None:
    random = np.random.default_rng(1)
    scores = random.beta(3, 1, 20_000)
    truth = 1 / (1 + np.exp(-(2.0 * np.log(scores) - 0.5 * np.log1p(-scores) + 0.8)))
    a, b, c = fit_curve(Outcomes(scores, random.random(len(scores)) < truth))
    assert (a, b, c) == pytest.approx((2.0, 0.5, 0.8), abs=0.15)


OUTCOMES = st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=40)


@settings(deadline=None)
@given(OUTCOMES)
def test_every_curve_is_monotone_and_no_worse_than_none(spans: list[tuple[float, bool]]) -> None:
    scores = np.array([score for score, _ in spans])
    outcomes = Outcomes(scores, np.array([right for _, right in spans]))
    a, b, c = fit_curve(outcomes)
    assert a >= 0
    assert b >= 0
    assert math.isfinite(c)
    near = np.clip(scores, EDGE, 1 - EDGE)
    odds = a * np.log(near) - b * np.log1p(-near) + c
    fitted = np.logaddexp(0, np.where(outcomes.right, -odds, odds)).mean()
    assert fitted <= log_loss(outcomes) + 1e-3


def test_the_curve_is_the_best_of_all_near_it() -> None:
    """Against brute force, where a would be negative without its bound."""
    random = np.random.default_rng(3)
    scores = random.uniform(0.05, 0.95, 400)
    right = random.random(400) < 0.95 - 0.4 * scores
    columns = np.stack([np.log(scores), -np.log1p(-scores), np.ones(400)], axis=1)

    def loss(weights: tuple[float, ...]) -> float:
        odds = columns @ np.array(weights)
        prior = 0.5 * ((weights[0] - 1) ** 2 + (weights[1] - 1) ** 2 + weights[2] ** 2)
        return float(np.logaddexp(0, np.where(right, -odds, odds)).sum() + prior)

    found = fit_curve(Outcomes(scores, right))
    assert min(found[:2]) == 0.0
    steps = [-0.02, 0.0, 0.02]
    for move in itertools.product(steps, repeat=3):
        other = tuple(value + step for value, step in zip(found, move, strict=True))
        if min(other[:2]) >= 0:
            assert loss(found) <= loss(other) + 1e-3  # found is rounded


def test_the_least_of_a_curve_of_one_valley_is_found() -> None:
    assert golden_section(lambda x: (x - 0.3) ** 2, -2, 5, 1e-4) == pytest.approx(0.3, abs=1e-4)
    assert golden_section(lambda x: x, -2, 5, 1e-4) == pytest.approx(-2, abs=1e-3)


def test_where_nothing_is_found_nothing_is_changed() -> None:
    head = sampled_head(1.0, sentences=5)
    nothing = np.zeros((2, 5), dtype=np.float32)
    nothing[:, 0] = 50.0
    silent = HeadScores(
        TASK, head.sentences, head.readings, [ScoredText(t.pieces, nothing) for t in head.scored]
    )
    assert fit_head(silent) == HeadCalibration()


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_checkpoint(tmp_path_factory.mktemp("tiny"))


def devel(name: str = "bc2gm") -> DevelSet:
    random = np.random.default_rng(5)
    label = TASKS[name].label_names[0]
    return DevelSet(
        TASKS[name],
        tuple(
            Sentence(
                tuple(random.choice(WORDS, 9).tolist()),
                tuple(random.choice([OUTSIDE, f"S-{label}"], 9).tolist()),
                1,
                starts_document=number % 5 == 0,
            )
            for number in range(40)
        ),
    )


@pytest.mark.parametrize("context", Context)
def test_collected_scores_give_what_the_tagger_finds(checkpoint: Path, context: Context) -> None:
    encoder = load_encoder(checkpoint, device="cpu", threads=1, precision="fp32")
    part = devel()
    tagger = Tagger([CheckpointTagger(encoder, BatchLimits())])
    told: list[int] = []
    head = collect_scores(encoder, TASK, part.sentences, context, told.append)
    expected = outcomes_of(
        [spans_of(sentence) for sentence in part.sentences],
        predict_scored(tagger, "bc2gm", part.sentences, context),
    )
    found = outcomes_at(head, HeadCalibration())
    assert len(found.scores) > 20
    assert found.scores == pytest.approx(expected.scores, abs=1e-6)
    assert found.right.tolist() == expected.right.tolist()
    assert sum(told) == len(head.readings)


def half_right(checkpoint: Path) -> DevelSet:
    """Devel sentences whose gold is what the checkpoint finds, but for each second mention."""
    sentences = devel().sentences
    found = predict_scored(load_tagger([checkpoint]), "bc2gm", sentences, Context.WINDOW)
    random = np.random.default_rng(6)
    return DevelSet(
        TASK,
        tuple(
            replace(
                sentence,
                tags=tags_of(
                    word_offsets(sentence.words),
                    [one.span for one in spans if random.random() < 0.4 + 0.5 * one.score],
                ).tags,
            )
            for sentence, spans in zip(sentences, found, strict=True)
        ),
    )


def test_a_folder_and_an_encoder_give_the_same_and_scores_follow(
    checkpoint: Path, tmp_path: Path
) -> None:
    part = half_right(checkpoint)
    fitted = calibrate_on_devel(checkpoint, [part, devel("ncbi-disease")], CPU)
    assert list(fitted) == ["bc2gm", "ncbi-disease"]
    encoder = load_encoder(checkpoint, device="cpu")
    assert calibrate_on_devel(encoder, [part], CPU)["bc2gm"] == fitted["bc2gm"]
    folder = Path(shutil.copytree(checkpoint, tmp_path / "copy"))
    sign_again(folder, calibration=fitted)
    gold = [spans_of(sentence) for sentence in part.sentences]
    before, after = (
        outcomes_of(
            gold, predict_scored(load_tagger([path]), "bc2gm", part.sentences, Context.WINDOW)
        )
        for path in (checkpoint, folder)
    )
    assert before.right.tolist() == after.right.tolist()
    assert log_loss(after) < log_loss(before)
    assert calibrate_on_devel(folder, [part], CPU)["bc2gm"] == fitted["bc2gm"]


def test_a_head_that_the_checkpoint_lacks_is_refused(checkpoint: Path) -> None:
    with pytest.raises(TrainingError, match="no head 'jnlpba' with the labels protein"):
        calibrate_on_devel(checkpoint, [devel("jnlpba")], CPU)
