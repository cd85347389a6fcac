"""What is best is decided by devel, and cannot see test."""

from dataclasses import fields
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from experiments.cells import CORPORA, find_cell
from experiments.choice import DevelRow, best_row, devel_rows
from experiments.gathering import gather
from tests.support.experiments import write_run


def test_the_best_on_devel_is_chosen_though_it_is_the_worst_on_test(tmp_path: Path) -> None:
    for name, devel, test in (
        ("mtl-plain", 0.8, 0.9),
        ("mtl-best", 0.81, 0.1),
        ("mtl-mlm", 0.7, 0.95),
    ):
        write_run(tmp_path, find_cell(name), 1, devel, test=test)
    write_run(tmp_path, find_cell("mtl-pair-plain"), 1, 0.99)
    rows = devel_rows(gather(tmp_path)["rows"])
    assert len(rows) == 4
    best = best_row(rows)
    assert best is not None
    assert best.name == "mtl-best"
    assert best.f1 == dict.fromkeys(CORPORA, 0.81)
    pair = best_row(rows, ("ncbi-disease", "bc5cdr"))
    assert pair is not None
    assert pair.name == "mtl-pair-plain"
    assert best_row(rows, ("bc2gm",)) is None
    assert best_row([]) is None


def test_what_chooses_has_no_place_for_test_scores(tmp_path: Path) -> None:
    assert {field.name for field in fields(DevelRow)} == {"name", "runs", "f1"}
    write_run(tmp_path, find_cell("mtl-plain"), 1, 0.5, test=0.123456)
    (row,) = devel_rows(gather(tmp_path)["rows"])
    assert "0.12346" not in repr(row)
    assert not hasattr(row, "__dict__")


def _row(name: str, values: list[float]) -> dict[str, Any]:
    head = {corpus: {"f1": {"mean": value}} for corpus, value in zip(CORPORA, values, strict=True)}
    return {"name": name, "status": "run", "seeds": [1], "devel": {"sentence": head}}


@given(
    st.lists(st.lists(st.floats(0, 1), min_size=4, max_size=4), min_size=1, max_size=8),
    st.randoms(),
)
def test_no_row_beats_the_best_whatever_the_order(values: list[list[float]], random: Any) -> None:
    rows = devel_rows(_row(f"row{number}", each) for number, each in enumerate(values))
    best = best_row(rows)
    assert best is not None
    assert all(row.mean <= best.mean for row in rows)
    random.shuffle(rows)
    assert best_row(rows) == best
