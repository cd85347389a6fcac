"""Scans against plain loops."""

from itertools import accumulate

import numpy as np
import pytest
import torch

from worker.decoding.prefix_scan import join_best, join_maps, join_sums, scan


@pytest.mark.parametrize("length", [0, 1, 2, 3, 7, 8, 33, 100])
def test_prefixes_equal_those_of_a_loop(length: int) -> None:
    items = torch.arange(length, dtype=torch.float64) + 1
    assert scan(items, torch.add).tolist() == list(accumulate(items.tolist()))


@pytest.mark.parametrize("length", [1, 2, 5, 12])
def test_prefixes_of_an_operation_that_does_not_commute(length: int) -> None:
    maps = torch.from_numpy(np.random.default_rng(length).integers(0, 4, size=(4, length)))
    expected = list(accumulate(maps.T.tolist(), lambda a, b: [b[state] for state in a]))
    assert scan(maps, join_maps).T.tolist() == expected


def test_matrix_products_keep_their_ratios() -> None:
    rng = np.random.default_rng(1)
    matrices = rng.random((3, 3, 2, 40))
    found = scan(torch.from_numpy(matrices), join_sums).numpy()
    product = np.eye(3)
    for step in range(40):
        product = product @ matrices[:, :, 1, step]
        product /= product.max()
        np.testing.assert_allclose(found[:, :, 1, step] / found[:, :, 1, step].max(), product)


def test_best_products_over_ten_thousand_steps_stay_finite() -> None:
    logs = torch.from_numpy(np.random.default_rng(2).normal(size=(2, 2, 1, 10_000)) * 60)
    found = scan(logs, join_best)
    assert torch.isfinite(found).all()
    row = logs[0, :, 0, 0]
    for step in range(1, 10_000):
        row = (row[:, None] + logs[:, :, 0, step]).amax(dim=0)
    assert float(found[0, 1, 0, -1] - found[0, 0, 0, -1]) == pytest.approx(float(row[1] - row[0]))
