"""The rate of a pipeline from the times at which its blocks were annotated."""

import pytest

from benchmarks.pipelines import FILES, citations_needed, steady_rate


def test_one_worker_is_timed_from_its_first_block_on() -> None:
    times = [100.0] * 10 + [102.0] * 10 + [104.0] * 10  # the first came after start-up
    found = steady_rate(times, [7] * 30, parallelism=1, block=10)
    assert (found.citations, found.pieces, found.seconds) == (20, 140, 4.0)


@pytest.mark.parametrize("late", [0.0, 0.5, 1.0, 1.5])
def test_two_workers_are_timed_once_both_have_done_a_block(late: float) -> None:
    blocks = 20
    one = [2.0 * (n + 1) for n in range(blocks)]
    two = [2.0 * (n + 1) + late for n in range(blocks)]
    times = [time for time in [*one, *two] for _ in range(10)]
    found = steady_rate(times, [1] * len(times), parallelism=2, block=10)
    assert found.citations_per_s == pytest.approx(10.0, rel=0.06)


def test_the_order_of_rows_does_not_matter() -> None:
    times, pieces = [3.0, 1.0, 2.0, 1.0, 3.0, 2.0], [30, 10, 20, 10, 30, 20]
    found = steady_rate(times, pieces, parallelism=1, block=2)
    assert (found.citations, found.pieces, found.seconds) == (4, 100, 2.0)


@pytest.mark.parametrize("rate", [1.0, 33.0, 400.0])
@pytest.mark.parametrize("parallelism", [1, 2])
def test_enough_citations_are_given_in_whole_blocks(rate: float, parallelism: int) -> None:
    count = citations_needed(rate, seconds=10, parallelism=parallelism, block=250)
    assert count % (250 * FILES) == 0
    assert count - parallelism * 250 >= max(10 * rate, 500)
    assert count <= 12 * rate + 1000 + (parallelism + 2) * 250
