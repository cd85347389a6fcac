"""The loss of a step against a plain reference: gold, soft labels, pseudo-labels, head weights."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.tasks import TASKS
from training.data.examples import NO_HEAD, UNLABELLED
from training.finetune.losses import Targets, head_loss
from training.recipes.recipe import Recipe
from worker.decoding.cpu import head_layout

LAYOUT = head_layout((TASKS["ncbi-disease"], TASKS["bc5cdr"], TASKS["bc2gm"]))
PLAIN = Recipe("plain")


def case(
    pieces: int, seed: int, *, taught: float = 1.0
) -> tuple[npt.NDArray[np.float32], Targets, npt.NDArray[np.float16]]:
    """Draw logits and targets; of the pieces a share `taught` has soft labels, the rest NaN."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (pieces, LAYOUT.width)).astype(np.float32)
    heads = rng.integers(NO_HEAD, len(LAYOUT.slices), pieces)
    widths = np.array([part.stop - part.start for part in LAYOUT.slices])
    tags = np.where(heads == NO_HEAD, UNLABELLED, rng.integers(0, widths[heads]))
    soft = np.empty((pieces, LAYOUT.width), np.float16)
    for part in LAYOUT.slices:
        soft[:, part] = rng.dirichlet(np.full(part.stop - part.start, 0.1), pieces)
    soft[rng.random(pieces) >= taught] = np.nan
    targets = Targets(torch.from_numpy(tags), torch.from_numpy(heads), torch.from_numpy(soft))
    return logits, targets, soft


def reference(
    logits: npt.NDArray[np.float32],
    targets: Targets,
    recipe: Recipe,
    log_variances: list[float] | None = None,
) -> float:
    """The loss, piece by piece and head by head, in plain Python."""
    total = 0.0
    tags, heads = targets.tags.tolist(), targets.heads.tolist()
    soft = None if targets.soft is None else targets.soft.double().numpy()
    for head, part in enumerate(LAYOUT.slices):
        loss, gold = 0.0, 0
        for piece, row in enumerate(logits.astype(np.float64)[:, part]):
            logs = row - row.max() - math.log(np.exp(row - row.max()).sum())
            own = heads[piece] == head and tags[piece] >= 0
            said = None if soft is None or np.isnan(soft[piece]).any() else soft[piece, part]
            if own:
                gold += 1
                share = recipe.distil_weight if said is not None else 0.0
                loss -= (1 - share) * logs[tags[piece]]
                if said is not None:
                    loss -= share * float(said @ logs)
            elif said is not None and said.max() >= recipe.pseudo_threshold:
                loss -= recipe.pseudo_weight * float(said @ logs)
        if log_variances is not None:
            spread = log_variances[head]
            loss = loss * math.exp(-spread) + 0.5 * spread * gold
        total += loss
    return total / len(tags)


@settings(deadline=None, max_examples=40)
@given(
    pieces=st.integers(1, 30),
    seed=st.integers(0, 2**32 - 1),
    taught=st.sampled_from([0.0, 0.5, 1.0]),
    distil=st.sampled_from([0.0, 0.3, 1.0]),
    pseudo=st.sampled_from([0.0, 0.7, 2.0]),
    threshold=st.sampled_from([0.0, 0.6, 0.9, 1.0]),
    spread=st.none() | st.lists(st.floats(-2, 2), min_size=3, max_size=3),
)
def test_the_loss_is_what_is_written_about_it(
    pieces: int,
    seed: int,
    taught: float,
    distil: float,
    pseudo: float,
    threshold: float,
    spread: list[float] | None,
) -> None:
    logits, targets, _ = case(pieces, seed, taught=taught)
    recipe = replace(PLAIN, distil_weight=distil, pseudo_weight=pseudo, pseudo_threshold=threshold)
    learned = None if spread is None else torch.tensor(spread)
    for given_targets in (targets, Targets(targets.tags, targets.heads, None)):
        found = head_loss(LAYOUT, torch.from_numpy(logits), given_targets, recipe, learned)
        expected = reference(logits, given_targets, recipe, spread)
        assert float(found) == pytest.approx(expected, rel=2e-5, abs=2e-5)


def gradient(recipe: Recipe, seed: int = 5) -> tuple[npt.NDArray[Any], Targets]:
    logits, targets, _ = case(40, seed, taught=0.7)
    given_logits = torch.from_numpy(logits).requires_grad_()
    head_loss(LAYOUT, given_logits, targets, recipe).backward()
    assert given_logits.grad is not None
    assert given_logits.grad.isfinite().all(), "a row of NaN teaches nothing, and breaks nothing"
    return given_logits.grad.numpy(), targets


def test_texts_without_gold_teach_by_pseudo_labels_alone() -> None:
    text = case(40, 5)[1].heads.numpy() == NO_HEAD
    assert text.any()
    for recipe in (PLAIN, replace(PLAIN, distil_weight=1.0)):
        assert not gradient(recipe)[0][text].any()
    learned, targets = gradient(replace(PLAIN, pseudo_weight=1.0))
    assert targets.soft is not None
    taught = ~targets.soft.isnan().any(dim=1).numpy()
    assert learned[text & taught].any(axis=1).all()
    assert not learned[text & ~taught].any()


def test_an_unsure_teacher_gives_no_pseudo_label() -> None:
    learned, targets = gradient(replace(PLAIN, pseudo_weight=1.0, pseudo_threshold=0.8))
    assert targets.soft is not None
    soft, heads = targets.soft.float().nan_to_num(-1.0).numpy(), targets.heads.numpy()
    for head, part in enumerate(LAYOUT.slices):
        other = heads != head
        sure = soft[:, part].max(axis=1) >= 0.8
        assert (sure & other).any()
        assert learned[sure & other][:, part].any(axis=1).all()
        assert not learned[~sure & other][:, part].any()


def test_gold_and_distillation_leave_other_heads_alone() -> None:
    learned, targets = gradient(replace(PLAIN, distil_weight=0.5))
    for head, part in enumerate(LAYOUT.slices):
        own = targets.heads.numpy() == head
        assert learned[own][:, part].any(axis=1).all()
        assert not learned[~own][:, part].any()


def test_the_learned_weight_settles_where_the_variance_is_twice_the_mean_loss() -> None:
    logits, targets, _ = case(60, 9)
    means = []
    for head in range(len(LAYOUT.slices)):
        own = targets.heads == head
        alone = Targets(targets.tags[own], targets.heads[own], None)
        means.append(float(head_loss(LAYOUT, torch.from_numpy(logits)[own], alone, PLAIN)))
    gold = Targets(targets.tags, targets.heads, None)
    # d/ds of n (exp(-s) L + s / 2) over all N pieces is n (1 / 2 - exp(-s) L) / N.
    spread = torch.tensor([0.3, -0.4, 1.1], requires_grad=True)
    head_loss(LAYOUT, torch.from_numpy(logits), gold, PLAIN, spread).backward()
    assert spread.grad is not None
    for head, mean in enumerate(means):
        share = float((targets.heads == head).sum()) / len(targets.heads)
        expected = share * (0.5 - math.exp(-float(spread.detach()[head])) * mean)
        assert float(spread.grad[head]) == pytest.approx(expected, rel=1e-4, abs=1e-6)
    settled = torch.tensor([math.log(2 * mean) for mean in means], requires_grad=True)
    head_loss(LAYOUT, torch.from_numpy(logits), gold, PLAIN, settled).backward()
    assert settled.grad is not None
    assert settled.grad.numpy() == pytest.approx(0.0, abs=1e-6)


def test_a_batch_without_pieces_that_are_read_has_no_loss() -> None:
    none = torch.zeros(0, dtype=torch.int64)
    logits = torch.zeros((0, LAYOUT.width), requires_grad=True)
    loss = head_loss(LAYOUT, logits, Targets(none, none, None), PLAIN)
    loss.backward()
    assert float(loss.detach()) == 0.0
