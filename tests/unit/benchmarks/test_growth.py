"""Whether time and memory are called flat where they are, and only there."""

import pytest

from benchmarks.growth import block_marks, growth_entry, thinned
from benchmarks.memory import Mark


def test_a_run_that_stays_flat_grows_by_nothing() -> None:
    found = growth_entry([Mark(n, n / 50, 700.0) for n in range(250, 10_001, 250)])
    assert [step["citations"] for step in found["steps"]] == [1_000, 2_000, 5_000, 10_000]
    assert [step["ms_per_citation"] for step in found["steps"]] == pytest.approx([20.0] * 4)
    assert found["time_growth"] == pytest.approx(0.0)
    assert found["memory_growth"] == pytest.approx(0.0)


def test_a_run_that_slows_down_and_swells_is_seen() -> None:
    marks = [Mark(n, (n / 1000) ** 2, 700.0 + n / 10) for n in range(250, 10_001, 250)]
    found = growth_entry(marks)
    assert found["time_growth"] > 0.5
    assert found["memory_growth"] > 0.5
    assert found["peak_memory_mb"] == 1_700.0


def test_warm_up_is_no_growth() -> None:
    marks = [Mark(n, n / 50, 300.0 if n < 1000 else 900.0) for n in range(250, 10_001, 250)]
    assert growth_entry(marks)["memory_growth"] == pytest.approx(0.0)


def test_blocks_are_counted_from_the_first_one_done() -> None:
    times = [10.0] * 4 + [12.0] * 4 + [14.0] * 2
    memory = [(9.0, 100.0), (11.0, 250.0), (11.5, 200.0), (13.9, 210.0)]
    assert block_marks(times, memory) == [Mark(4, 2.0, 250.0), Mark(6, 4.0, 210.0)]


def test_a_thinned_curve_keeps_its_end() -> None:
    marks = [Mark(n, n, 1.0) for n in range(1, 1001)]
    few = thinned(marks, 100)
    assert len(few) <= 101
    assert (few[0], few[-1]) == (marks[0], marks[-1])
    assert thinned(marks[:1], 100) == marks[:1]
