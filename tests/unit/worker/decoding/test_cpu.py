"""Constrained decoding against brute force over every legal sequence."""

import itertools
import math
from collections.abc import Collection

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.tags import iobes_tags, may_end, may_follow, may_start
from schemas.tasks import TASKS, EntityType, Label, Task
from tests.unit.worker.decoding.reference_decoding import reference_decode
from worker.decoding.cpu import DecodedRun, decode, head_layout
from worker.text.alignment import tag_runs

TWO = Task("two", (Label("A", EntityType.GENE), Label("B", EntityType.DNA)))
ONE = Task("one", (Label("A", EntityType.DISEASE),))


def legal_sequences(
    tags: tuple[str, ...], length: int, breaks: Collection[int] = ()
) -> list[tuple[int, ...]]:
    """Return all sequences that IOBES allows, and that end a line in front of each of `breaks`."""
    return [
        sequence
        for sequence in itertools.product(range(len(tags)), repeat=length)
        if may_start(tags[sequence[0]])
        and may_end(tags[sequence[-1]])
        and all(may_follow(tags[a], tags[b]) for a, b in itertools.pairwise(sequence))
        and all(
            may_end(tags[sequence[place - 1]]) and may_start(tags[sequence[place]])
            for place in breaks
        )
    ]


def brute_force(
    task: Task, logits: npt.NDArray[np.float32], breaks: Collection[int] = ()
) -> tuple[list[tuple[int, int, str]], dict[tuple[int, int, str], float]]:
    """Return the best sequence's mentions, and the marginal of every possible mention."""
    tags = iobes_tags(task.label_names)
    p = np.exp(logits.astype(float))
    p /= p.sum(axis=1, keepdims=True)
    best: tuple[int, ...] = ()
    best_weight, total = -1.0, 0.0
    marginals: dict[tuple[int, int, str], float] = {}
    for sequence in legal_sequences(tags, len(logits), breaks):
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


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 10_000),
    texts=st.lists(st.lists(st.integers(0, 2), max_size=3), min_size=1, max_size=4),
    sharpness=st.sampled_from([0.3, 2.0, 6.0]),
)
def test_no_mention_crosses_a_line_break(
    seed: int, texts: list[list[int]], sharpness: float
) -> None:
    rng = np.random.default_rng(seed)
    layout = head_layout([ONE])
    lines = [np.array(text[:2], dtype=np.int64) for text in texts]
    logits = [
        (rng.normal(size=(int(text.sum()), layout.width)) * sharpness).astype(np.float32)
        for text in lines
    ]
    for scores, text, runs in zip(logits, lines, decode(layout, logits, lines), strict=True):
        breaks = {place for place in np.cumsum(text).tolist() if 0 < place < len(scores)}
        if not len(scores):
            assert runs == []
            continue
        expected, marginals = brute_force(ONE, scores, breaks)
        assert [(run.first, run.last, run.label) for run in runs] == expected
        for run in runs:
            assert run.score == pytest.approx(marginals[run.first, run.last, run.label], rel=1e-6)


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 10_000),
    texts=st.lists(st.lists(st.integers(0, 40), max_size=5), max_size=5),
    sharpness=st.sampled_from([0.5, 3.0, 12.0]),
)
def test_lines_decode_as_if_each_were_a_text(
    seed: int, texts: list[list[int]], sharpness: float
) -> None:
    layout = head_layout([ONE, TWO])
    lines = [np.array(text, dtype=np.int64) for text in texts]
    lengths = [int(text.sum()) for text in lines]
    logits = random_logits(np.random.default_rng(seed), lengths, layout.width, sharpness, 0.0)
    for scores, text, runs in zip(logits, lines, decode(layout, logits, lines), strict=True):
        begins = np.cumsum(text) - text
        alone = reference_decode(layout, np.split(scores, begins[1:]))
        expected = sorted(
            (
                (run.head, run.label, run.first + begin, run.last + begin, run.score)
                for begin, line in zip(begins.tolist(), alone, strict=False)
                for run in line
            ),
            key=lambda run: (run[0], run[2]),
        )
        assert placed(runs) == [run[:4] for run in expected]
        assert [run.score for run in runs] == pytest.approx([r[4] for r in expected], abs=1e-5)


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


def test_layout_names_every_heads_tags_side_by_side() -> None:
    layout = head_layout([ONE, TWO])
    assert layout.width == 5 + 9
    assert layout.tags[5:9] == ("O", "B-A", "I-A", "E-A")


def placed(runs: list[DecodedRun]) -> list[tuple[int, str, int, int]]:
    return [(run.head, run.label, run.first, run.last) for run in runs]


def random_logits(
    rng: np.random.Generator, lengths: list[int], width: int, sharpness: float, outside: float
) -> list[npt.NDArray[np.float32]]:
    """Return random scores; `outside` is added to a random share of whole ranges' `O`."""
    out = []
    for length in lengths:
        scores = (rng.normal(size=(length, width)) * sharpness).astype(np.float32)
        quiet = np.repeat(rng.random(length // 7 + 1) < 0.6, 7)[:length]
        scores[quiet, 0] += outside
        scores[quiet, 5] += outside
        out.append(scores)
    return out


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 10_000),
    lengths=st.lists(st.integers(0, 60), max_size=6),
    sharpness=st.sampled_from([0.5, 3.0, 12.0]),
    outside=st.sampled_from([0.0, 6.0, 20.0]),
)
def test_the_same_as_the_plain_recursions(
    seed: int, lengths: list[int], sharpness: float, outside: float
) -> None:
    layout = head_layout([ONE, TWO])
    logits = random_logits(np.random.default_rng(seed), lengths, layout.width, sharpness, outside)
    for found, expected in zip(
        decode(layout, logits), reference_decode(layout, logits), strict=True
    ):
        assert placed(found) == placed(expected)
        assert [run.score for run in found] == pytest.approx(
            [run.score for run in expected], abs=1e-5
        )


def test_a_text_of_many_thousand_pretokens_decodes_like_the_plain_recursions() -> None:
    layout = head_layout([TASKS["jnlpba"], TASKS["ncbi-disease"]])
    rng = np.random.default_rng(3)
    logits = random_logits(rng, [9000, 20, 17_000], layout.width, 2.0, 0.0)
    for found, expected in zip(
        decode(layout, logits), reference_decode(layout, logits), strict=True
    ):
        assert placed(found) == placed(expected)
        assert [run.score for run in found] == pytest.approx(
            [run.score for run in expected], abs=1e-5
        )


def test_of_equally_probable_readings_the_mention_that_begins_later_is_taken() -> None:
    layout = head_layout([ONE])
    # O, B, I, E, S: beginning at 0 or at 1 costs the same, in steps that floats add exactly.
    logits = np.array(
        [[0, -0.75, -9, -9, -9], [-9, -0.75, 0, -9, -9], [-9, -9, -9, 0, -9]], dtype=np.float32
    )
    ((run,),) = decode(layout, [logits])
    assert (run.first, run.last) == (1, 2)
    assert run.score == pytest.approx(0.5, abs=0.01)


def test_no_text_no_pretoken_and_nothing_but_outside_give_no_mentions() -> None:
    layout = head_layout([ONE, TWO])
    assert decode(layout, []) == []
    quiet = np.full((4, layout.width), -8.0, dtype=np.float32)
    quiet[:, [0, 5]] = 8.0
    empty = np.zeros((0, layout.width), dtype=np.float32)
    assert decode(layout, [empty, quiet, empty]) == [[], [], []]
