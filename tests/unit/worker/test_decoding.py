"""Constrained decoding against brute force over every legal sequence."""

import itertools
import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.tags import iobes_tags, may_end, may_follow, may_start
from schemas.tasks import TASKS, EntityType, Label, Task
from worker.alignment import tag_runs
from worker.decoding import decode, head_layout, head_probabilities

TWO = Task("two", (Label("A", EntityType.GENE), Label("B", EntityType.DNA)))
ONE = Task("one", (Label("A", EntityType.DISEASE),))


def legal_sequences(tags: tuple[str, ...], length: int) -> list[tuple[int, ...]]:
    return [
        sequence
        for sequence in itertools.product(range(len(tags)), repeat=length)
        if may_start(tags[sequence[0]])
        and may_end(tags[sequence[-1]])
        and all(may_follow(tags[a], tags[b]) for a, b in itertools.pairwise(sequence))
    ]


def brute_force(
    task: Task, logits: npt.NDArray[np.float32]
) -> tuple[list[tuple[int, int, str]], dict[tuple[int, int, str], float]]:
    """Return the best sequence's mentions, and the marginal of every possible mention."""
    tags = iobes_tags(task.label_names)
    p = np.exp(logits.astype(float))
    p /= p.sum(axis=1, keepdims=True)
    best: tuple[int, ...] = ()
    best_weight, total = -1.0, 0.0
    marginals: dict[tuple[int, int, str], float] = {}
    for sequence in legal_sequences(tags, len(logits)):
        weight = math.prod(p[step, tag] for step, tag in enumerate(sequence))
        total += weight
        if weight > best_weight:
            best, best_weight = sequence, weight
        for run in tag_runs([tags[tag] for tag in sequence]):
            marginals[run] = marginals.get(run, 0.0) + weight
    return tag_runs([tags[tag] for tag in best]), {k: v / total for k, v in marginals.items()}


@settings(deadline=None, max_examples=25)
@given(
    seed=st.integers(0, 10_000),
    lengths=st.lists(st.integers(0, 3), min_size=1, max_size=4),
    sharpness=st.sampled_from([0.3, 2.0, 6.0]),
)
def test_mentions_and_scores_equal_brute_force(
    seed: int, lengths: list[int], sharpness: float
) -> None:
    rng = np.random.default_rng(seed)
    layout = head_layout([ONE, TWO])
    logits = [
        (rng.normal(size=(length, layout.width)) * sharpness).astype(np.float32)
        for length in lengths
    ]
    decoded = decode(layout, logits)
    for scores, runs in zip(logits, decoded, strict=True):
        for head, (task, part) in enumerate(zip(layout.tasks, layout.slices, strict=True)):
            own = [run for run in runs if run.head == head]
            if not len(scores):
                assert own == []
                continue
            expected, marginals = brute_force(task, scores[:, part])
            assert [(run.first, run.last, run.label) for run in own] == expected
            for run in own:
                assert run.score == pytest.approx(
                    marginals[run.first, run.last, run.label], rel=1e-6
                )


def test_a_text_decodes_the_same_alone_and_beside_longer_ones() -> None:
    rng = np.random.default_rng(5)
    layout = head_layout([TASKS["jnlpba"], TASKS["bc5cdr"]])
    logits = [
        (rng.normal(size=(n, layout.width)) * 3).astype(np.float32) for n in (3, 40, 17, 0, 1)
    ]
    together = decode(layout, logits)
    for scores, runs in zip(logits, together, strict=True):
        (alone,) = decode(layout, [scores])
        assert [(r.head, r.label, r.first, r.last) for r in alone] == [
            (r.head, r.label, r.first, r.last) for r in runs
        ]
        assert [r.score for r in alone] == pytest.approx([r.score for r in runs])


def test_extreme_scores_stay_finite() -> None:
    layout = head_layout([ONE])
    logits = np.full((6, layout.width), -1e4, dtype=np.float32)
    logits[:, 2] = 1e4  # certain I everywhere, which no legal sequence allows
    (runs,) = decode(layout, [logits])
    for run in runs:
        assert 0.0 <= run.score <= 1.0
    certain = np.full((3, layout.width), -50.0, dtype=np.float32)
    certain[[0, 1, 2], [1, 2, 3]] = 50.0
    ((run,),) = decode(layout, [certain])
    assert (run.first, run.last, run.label) == (0, 2, "A")
    assert run.score == pytest.approx(1.0)


def test_head_probabilities_sum_to_one_within_each_head() -> None:
    layout = head_layout([ONE, TWO])
    logits = np.random.default_rng(0).normal(size=(4, layout.width)).astype(np.float32)
    p = head_probabilities(layout, logits)
    for part in layout.slices:
        np.testing.assert_allclose(p[:, part].sum(axis=1), 1.0)


def test_layout_names_every_heads_tags_side_by_side() -> None:
    layout = head_layout([ONE, TWO])
    assert layout.width == 5 + 9
    assert layout.tags[5:9] == ("O", "B-A", "I-A", "E-A")
    assert not layout.allowed[0, 5], "no transition leads from one head into another"
