"""The page and its plots, from a table."""

import re
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from experiments.cells import CELLS, find_cell
from experiments.figures import Score, difference, f1, noise, signed, spread
from experiments.gathering import gather, read_table
from experiments.page import write_page
from schemas.errors import InputError
from tests.support.experiments import write_all_runs, write_run
from tests.support.root import ROOT

REFERENCES = [
    {"name": "A paper", "scale": "strict", "note": "trains on more", "f1": {"bc2gm": 0.834}},
    {"name": "a report", "scale": "token", "note": "", "f1": {"bc2gm": 0.96}},
]


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("runs")
    write_all_runs(folder, (1, 2), but=["mtl-final", "mtl-pseudo"])
    write_run(folder, find_cell("mtl-pair-plain"), 1, 0.8, name="mtl-pair-dead")
    return gather(folder, earlier={"rows": [], "references": REFERENCES})


@pytest.fixture(scope="module")
def written(table: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of the table in its folder, plots included: they take the time."""
    return write_page(table, tmp_path_factory.mktemp("page"))


def tables_of(page: str) -> list[list[list[str]]]:
    """Split the page's tables into cells."""
    blocks = re.findall(r"(?:^\|.*\|\n)+", page, re.MULTILINE)
    return [
        [[cell.strip() for cell in line.strip("|\n").split("|")] for line in block.splitlines()]
        for block in blocks
    ]


def test_the_page_has_every_row_and_no_missing_number(table: dict[str, Any], written: Path) -> None:
    page = written.read_text()
    assert not re.search(r"\b(None|nan|null|inf)\b", page)
    for row in table["rows"]:
        assert f"| {row['name']} |" in page, row["name"]
    tables = tables_of(page)
    for rows in tables:
        assert len({len(row) for row in rows}) == 1
        assert all(re.fullmatch("---:?", mark) for mark in rows[1])
    whole = next(rows for rows in tables if rows[0][:3] == ["row", "head", "devel P"])
    assert all(re.fullmatch(r"\d+\.\d( ± \d+\.\d)?", cell) for row in whole[2:] for cell in row[2:])
    expected = sum(len(row["corpora"]) + 2 * ("bc5cdr" in row["corpora"])
                   for row in table["rows"] if row["status"] == "run")  # fmt: skip
    assert len(whole) - 2 == expected
    missing = next(rows for rows in tables if rows[0] == ["row", "what it would show"])
    assert [row[0] for row in missing[2:]] == ["mtl-final", "mtl-pseudo"]
    assert "`mtl-pair-dead`" in page
    assert "A paper, published" in page
    assert "make experiments" in page


def test_the_numbers_on_the_page_are_the_tables(written: Path) -> None:
    page = written.read_text()
    number = [cell.name for cell in CELLS].index("mtl-plain")
    mean = 100 * (0.80 + 0.002 * number + 0.0015)
    devel = next(rows for rows in tables_of(page) if rows[0][:3] == ["row", "runs", "NCBI"])
    plain = next(row for row in devel if row[0] == "mtl-plain")
    assert plain[1:3] == ["2", f"{mean:.1f} ± 0.1"]


def test_links_lead_to_plots_that_are_well_formed(written: Path) -> None:
    page = written.read_text()
    links = re.findall(r"!\[.+\]\((.+\.svg)\)", page)
    assert len(links) == len(set(links)) == 5
    folder = written.parent
    drawn = {f"experiments/{path.name}" for path in (folder / "experiments").iterdir()}
    assert drawn == set(links)
    for link in links:
        root = ET.fromstring((folder / link).read_text())
        words = " ".join(root.itertext())
        assert root.tag.endswith("svg")
        assert "mtl-" in words or "augment-" in words


def test_the_same_table_gives_the_same_bytes(
    table: dict[str, Any], written: Path, tmp_path: Path
) -> None:
    write_page(table, tmp_path)
    one = written.parent
    files = sorted(path.relative_to(one) for path in one.rglob("*.*"))
    assert len(files) == 6
    for file in files:
        assert (one / file).read_bytes() == (tmp_path / file).read_bytes()


def test_a_table_of_one_run_makes_a_page_too_and_an_empty_one_none(tmp_path: Path) -> None:
    write_run(tmp_path / "runs", find_cell("stl-bc2gm"), 1, 0.75)
    page = write_page(gather(tmp_path / "runs"), tmp_path / "page").read_text()
    assert "| stl-bc2gm | BC2GM | 75.0 |" in page
    with pytest.raises(InputError, match="no cell"):
        write_page(gather(tmp_path / "nothing"), tmp_path / "page")


def test_the_committed_page_is_that_of_the_committed_table(tmp_path: Path) -> None:
    docs = ROOT / "docs"
    page = write_page(read_table(docs / "experiments.json"), tmp_path)
    assert page.read_text() == (docs / "experiments.md").read_text()
    drawn = sorted(path.name for path in (tmp_path / "experiments").iterdir())
    assert drawn == sorted(path.name for path in (docs / "experiments").iterdir())


def _row(*values: float) -> dict[str, Any]:
    mean = sum(values) / len(values)
    std = (sum((v - mean) ** 2 for v in values) / (len(values) - 1)) ** 0.5
    return {
        "seeds": [*range(len(values))],
        "devel": {"sentence": {"bc2gm": {"f1": {"mean": mean, "std": std}}}},
    }


def test_differences_and_noise() -> None:
    one, two = _row(0.80, 0.82), _row(0.80, 0.81, 0.82, 0.83)
    first, second = f1(one, "devel", "bc2gm"), f1(two, "devel", "bc2gm")
    gap = difference(first, second)
    assert gap is not None
    assert gap.mean == pytest.approx(-0.5)
    variances = 2.0 / 2 + (5 / 3) / 4
    assert gap.std == pytest.approx(variances**0.5)
    pooled = ((2.0 * 1 + (5 / 3) * 3) / 4) ** 0.5
    assert spread([one, two], "bc2gm") == pytest.approx(pooled)
    assert noise(one, two, pooled) == pytest.approx(2 * pooled * (1 / 2 + 1 / 4) ** 0.5)
    assert difference(Score(1.0, None, 1), second) is not None
    assert difference(None, second) is None
    assert (signed(1), signed(-0.25), signed(-0.001)) == ("+1.00", "−0.25", "0.00")
