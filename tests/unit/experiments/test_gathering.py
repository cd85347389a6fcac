"""From results on disk to rows: means, deviations, what was not run, what is kept."""

import json
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from experiments.cells import CELLS, CORPORA, PLAIN, find_cell
from experiments.comparing import compare_runs
from experiments.gathering import gather, read_table, summarise, write_table
from schemas.errors import InputError
from tests.support.experiments import write_all_runs, write_run

NCBI = find_cell("stl-ncbi-disease")


def row(table: dict[str, Any], name: str) -> dict[str, Any]:
    return next(row for row in table["rows"] if row["name"] == name)


def test_a_row_has_the_mean_and_the_sample_deviation_of_its_seeds(tmp_path: Path) -> None:
    scores = [0.81, 0.84, 0.83]
    for seed, score in zip((3, 1, 2), scores, strict=True):
        write_run(tmp_path, NCBI, seed, score, test=score - 0.1)
    found = row(gather(tmp_path), NCBI.name)
    assert found["status"] == "run"
    assert found["seeds"] == [1, 2, 3]
    assert found["seconds"] == 62.0
    assert found["device"] == "a machine"
    for block, less in (("devel", 0.0), ("test", 0.1)):
        head = found[block]["sentence"]["ncbi-disease"]
        assert head["f1"]["mean"] == pytest.approx(statistics.mean(scores) - less, abs=1e-5)
        assert head["f1"]["std"] == pytest.approx(statistics.stdev(scores), abs=1e-5)
        assert head["support"] == 100
        assert head["token_weighted_f1"] == {"mean": 0.97, "std": 0.0}


def test_one_run_has_no_deviation_and_a_cell_without_runs_says_so(tmp_path: Path) -> None:
    write_run(tmp_path, NCBI, 1, 0.5)
    table = gather(tmp_path)
    one = row(table, NCBI.name)
    assert one["devel"]["sentence"]["ncbi-disease"]["f1"] == {"mean": 0.5, "std": None}
    others = [row for row in table["rows"] if row["name"] != NCBI.name]
    assert len(others) == len(CELLS) - 1
    assert all(row["status"] == "not run" and "devel" not in row for row in others)


def test_a_run_without_its_result_is_not_counted(tmp_path: Path) -> None:
    write_run(tmp_path, NCBI, 1, 0.5)
    write_run(tmp_path, NCBI, 2, 0.7)
    (tmp_path / NCBI.name / "seed2" / "result.json").unlink()
    assert row(gather(tmp_path), NCBI.name)["seeds"] == [1]


def test_rows_are_in_order_and_test_is_their_last_block(tmp_path: Path) -> None:
    write_all_runs(tmp_path, (1,), but=["mtl-final"])
    table = gather(tmp_path)
    names = [row["name"] for row in table["rows"]]
    assert names == sorted(cell.name for cell in CELLS)
    assert {name.partition("-")[0] for name in names} == {"baseline", "stl", "mtl", "augment"}
    for found in table["rows"]:
        if found["status"] == "run":
            assert list(found)[-1] == "test"


def test_what_was_retired_stays(tmp_path: Path) -> None:
    dead = {**PLAIN.values(), "epochs": 10, "hopeless": 0.5, "unused": 0.0, "absent": None}
    write_run(tmp_path, find_cell("mtl-pair-plain"), 1, 0.8, name="mtl-pair-dead", recipe=dead)
    first = gather(tmp_path)
    found = row(first, "mtl-pair-dead")
    assert found["retired"]
    assert found["changes"] == {"epochs": 10, "hopeless": 0.5}
    assert found["against"] == "mtl-pair-plain"

    told = {**found, "shows": "a technique in words"}
    earlier = {"rows": [told], "references": [{"name": "a paper"}], "sizes": [{"corpus": "x"}]}
    again = gather(tmp_path, earlier=earlier)
    assert row(again, "mtl-pair-dead") == told
    empty = gather(tmp_path / "nothing", earlier=earlier)
    assert row(empty, "mtl-pair-dead") == told
    assert empty["references"] == earlier["references"]
    assert empty["sizes"] == earlier["sizes"]
    assert not any(row["retired"] for row in empty["rows"] if row["name"] != "mtl-pair-dead")


def test_the_same_runs_give_the_same_bytes_and_gathering_again_changes_nothing(
    tmp_path: Path,
) -> None:
    write_all_runs(tmp_path / "runs", (1, 2))
    write_table(gather(tmp_path / "runs"), tmp_path / "a.json")
    write_table(
        gather(tmp_path / "runs", earlier=read_table(tmp_path / "a.json")), tmp_path / "b.json"
    )
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()


def test_runs_that_know_different_scores_are_summarised_by_what_all_have() -> None:
    trees = [{"a": 1.0, "b": {"c": 2.0, "support": 5}}, {"b": {"c": 4.0, "support": 5}, "a": 2.0}]
    assert summarise(trees) == {
        "a": {"mean": 1.5, "std": 0.70711},
        "b": {"c": {"mean": 3.0, "std": 1.41421}, "support": 5},
    }
    assert summarise([{"a": 1.0}, {}]) == {}
    assert summarise([{"a": 1.0}, {"a": 1.0, "b": 2.0}]) == {"a": {"mean": 1.0, "std": 0.0}}


@pytest.mark.parametrize("text", ["", "[1]", "{"])
def test_a_broken_result_is_told(tmp_path: Path, text: str) -> None:
    write_run(tmp_path, NCBI, 1, 0.5)
    (tmp_path / NCBI.name / "seed1" / "result.json").write_text(text)
    with pytest.raises(InputError, match=r"result\.json"):
        gather(tmp_path)


def test_a_table_of_another_layout_is_told(tmp_path: Path) -> None:
    (tmp_path / "old.json").write_text(json.dumps({"format_version": 0, "rows": []}))
    with pytest.raises(InputError, match="layout 1"):
        read_table(tmp_path / "old.json")


def test_the_bootstrap_adds_up_the_seeds_that_both_have(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    gold = rng.integers(0, 4, 300)
    files: dict[str, list[tuple[int, Path]]] = {"mtl-plain": [], "stl-bc2gm": []}
    sums = {"mtl-plain": np.zeros(3, int), "stl-bc2gm": np.zeros(3, int)}
    for name, seeds, share in (("mtl-plain", (1, 2, 4), 0.8), ("stl-bc2gm", (1, 2, 3), 0.7)):
        for seed in seeds:
            right = rng.binomial(gold, share)
            counts = np.stack([right, gold, gold], axis=1)
            if seed < 3:
                sums[name] += counts.sum(axis=0)
            path = tmp_path / f"{name}-{seed}.npz"
            arrays: dict[str, Any] = {"bc2gm/sentence": counts.astype(np.uint8)}
            np.savez(path, **arrays)
            files[name].append((seed, path))
    (found,) = compare_runs(files, resamples=400)
    assert (found["first"], found["second"], found["corpus"]) == ("mtl-plain", "stl-bc2gm", "bc2gm")
    assert found["seeds"] == [1, 2]
    for key, name in (("first_f1", "mtl-plain"), ("second_f1", "stl-bc2gm")):
        right, made, true = sums[name].tolist()
        assert found[key] == pytest.approx(2 * right / (made + true), abs=1e-5)
    assert 0 < found["low"] < found["difference"] < found["high"]
    assert found["p_one_sided"] < 0.05
    assert compare_runs(files, resamples=400) == [found]
    assert compare_runs({"mtl-plain": files["mtl-plain"]}) == []


def test_every_corpus_is_compared_for_every_multi_task_cell(tmp_path: Path) -> None:
    write_all_runs(tmp_path, (1,), but=["mtl-final"])
    found = gather(tmp_path)["bootstrap"]
    assert [one["corpus"] for one in found[:4]] == list(CORPORA)
    assert len({(one["first"], one["corpus"]) for one in found}) == len(found) == 4 * 4
    assert "mtl-final" not in {one["first"] for one in found}
