"""The arithmetic of the results, and the names by which others read them."""

import pytest

from benchmarks.results import best_flops, merge_limits, share_of_limit
from tests.unit.benchmarks.sample import limit, results


def test_the_share_is_two_operations_a_parameter_and_piece_over_the_best_rate() -> None:
    share = share_of_limit(25_350.0, parameters=10_650_000, flops=3.1e12)
    assert share == pytest.approx(2 * 10.65e6 * 25_350 / 3.1e12)
    assert share == pytest.approx(0.1742, abs=1e-4)


def test_the_limit_is_the_faster_of_bf16_and_fp32_and_never_int8() -> None:
    assert best_flops(limit()) == 3e12
    assert best_flops({**limit(), "bf16_flops": 1e10}) == 2e11


def test_the_json_has_the_structure_that_others_read() -> None:
    found = results()
    assert {"bf16_flops", "fp32_flops", "int8_ops"} <= found["limit"].keys()
    assert list(found["rates"]) == [
        "hf-default",
        "openvino",
        "tagger",
        "pipeline-flink-1",
        "pipeline-flink-2",
    ]
    for entry in found["rates"].values():
        assert {"citations_per_s", "wordpieces_per_s", "share_of_limit"} <= entry.keys()
    tagger = found["rates"]["tagger"]
    assert tagger["citations_per_s"] == pytest.approx(95.0)
    assert (tagger["citations_per_s_min"], tagger["citations_per_s_max"]) == (90.0, 100.0)
    assert tagger["spread"] == pytest.approx(10 / 95)
    assert tagger["wordpieces_per_s"] == pytest.approx(28_500.0)
    assert tagger["share_of_limit"] == pytest.approx(2 * 10.65e6 * 28_500 / 3e12)
    assert tagger["what"] == "ours"


def test_rows_are_set_beside_each_other_where_both_were_measured() -> None:
    found = results()
    assert found["best_peer"] == "openvino"
    assert found["ratios"] == {
        "tagger over the best peer": pytest.approx(1.9),
        "tagger over hf-default": pytest.approx(23.75),
        "pipeline-flink-2 over tagger": pytest.approx(81 / 95),
        "pipeline-flink-2 over pipeline-flink-1": pytest.approx(1.8),
    }


def test_of_several_rounds_the_limit_is_the_best() -> None:
    one = {"bf16_flops": 1.0, "shapes": {"bf16_flops": {"a": 1.0, "b": 0.5}}}
    two = {"bf16_flops": 2.0, "shapes": {"bf16_flops": {"a": 0.7, "b": 2.0}}}
    merged = merge_limits([one, two])
    assert merged["bf16_flops"] == 2.0
    assert merged["shapes"] == {"bf16_flops": {"a": 1.0, "b": 2.0}}
    assert merged["rounds"] == [{"bf16_flops": 1.0}, {"bf16_flops": 2.0}]
