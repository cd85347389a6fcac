"""Places that no mention crosses, against the exact probability of crossing them."""

import itertools

import numpy as np
import numpy.typing as npt
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.decoding.cut_points import NEGLIGIBLE, safe_cuts


def crossing_shares(logs: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Return the probability of standing inside in front of each pre-token; columns O B I E S."""
    weights = np.exp(logs.astype(float))
    inside = np.zeros(len(logs))
    total = 0.0
    for states in itertools.product((0, 1), repeat=len(logs) - 1):
        path = [0, *states, 0]
        share = 1.0
        for step, (before, after) in enumerate(itertools.pairwise(path)):
            stay, begin, within, end, single = weights[step]
            share *= ((stay + single, begin), (end, within))[before][after]
        total += share
        inside += share * np.array(path[:-1])
    return inside / total


@settings(deadline=None, max_examples=200)
@given(
    seed=st.integers(0, 10_000),
    length=st.integers(1, 7),
    sharpness=st.sampled_from([2.0, 8.0]),
    outside=st.sampled_from([0.0, 8.0, 16.0]),
)
def test_a_sure_place_is_hardly_ever_crossed(
    seed: int, length: int, sharpness: float, outside: float
) -> None:
    logs = (np.random.default_rng(seed).normal(size=(length, 5)) * sharpness).astype(np.float32)
    logs[:, 0] += outside
    starts = np.arange(length) == 0
    stay = logs[:, [0, 4]].max(axis=1)[None]
    sure = safe_cuts(logs[None, :, 1], logs[None, :, 2], logs[None, :, 3], stay, starts)
    assert sure[0]
    assert (crossing_shares(logs)[sure] <= NEGLIGIBLE * 1.001).all()


def test_quiet_text_is_cut_everywhere_and_a_mention_nowhere() -> None:
    logs = np.full((12, 5), -20.0, dtype=np.float32)
    logs[:, 0] = 0.0
    logs[[5, 6, 7], 0] = -20.0
    logs[[5, 6, 7], [1, 2, 3]] = 0.0
    starts = np.arange(12) == 0
    sure = safe_cuts(logs[None, :, 1], logs[None, :, 2], logs[None, :, 3], logs[None, :, 0], starts)
    assert np.flatnonzero(~sure).tolist() == [6, 7]
