"""The plan of scale: arithmetic over results."""

from pathlib import Path

import pytest

from benchmarks.page import write_page
from benchmarks.scale import BASE, CITATIONS, SHIPPED, make_scale
from tests.unit.benchmarks.sample import results


def with_size() -> dict[str, object]:
    found = results()
    found["rates"]["pipeline-direct"] = {
        **found["rates"]["pipeline-flink-1"],
        "parquet_bytes_per_citation": {
            "all": 3000.0,
            "citations": 1000.0,
            "mentions": 2000.0,
            "mentions_per_citation": 30.0,
        },
    }
    return found


def test_operations_of_a_citation() -> None:
    assert SHIPPED.flops(100) == pytest.approx(2 * 10_646_784 * 100 + 4 * 6 * 384 * 100**2)
    assert BASE.parameters == 12 * (4 * 768 * 768 + 2 * 768 * 3072)


def test_the_page_multiplies_what_was_measured() -> None:
    page = make_scale(with_size())
    # 81 citations/s on two cores; 3,000 bytes a citation.
    assert f"**{CITATIONS * 2 / 81 / 3600:,.0f} core-hours**" in page
    assert "= **114 GB**" in page
    assert "1.80 times one" in page
    assert "estimates, not measurements" in page
    # 38 million x 300 pieces at 100,000 a core and second, and 0.25 ms around each.
    assert f"= {CITATIONS * 300 / 100_000 / 3600:,.1f} core-hours" in page
    assert f"= {CITATIONS * 0.00025 / 3600:,.1f} core-hours" in page


def test_it_is_written_where_its_rows_were_measured(tmp_path: Path) -> None:
    write_page(results(), tmp_path / "without")
    assert not (tmp_path / "without" / "scale.md").exists()
    write_page(with_size(), tmp_path / "docs")
    assert (tmp_path / "docs" / "scale.md").read_text().startswith("# Scale")
