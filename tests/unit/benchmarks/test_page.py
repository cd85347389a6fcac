"""The page and its plots, made from results."""

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks.page import make_page, make_plots, write_page
from benchmarks.svg import ACCENT, GREY, Bar, bar_plot
from tests.unit.benchmarks.sample import results

SVG = "{http://www.w3.org/2000/svg}"


def test_bars_are_as_long_as_their_values_and_ours_stand_out() -> None:
    bars = [Bar("they", 50, 45, 55, "50", False), Bar("we & <ours>", 100, 90, 110, "100", True)]
    root = ElementTree.fromstring(bar_plot("Title", bars))
    boxes = [box for box in root.iter(f"{SVG}rect") if box.get("fill") in (ACCENT, GREY)]
    assert [box.get("fill") for box in boxes] == [GREY, ACCENT]
    widths = [float(box.get("width", "0")) for box in boxes]
    assert widths[1] == pytest.approx(2 * widths[0], rel=0.01)
    assert {"Title", "they", "we & <ours>", "50", "100"} <= {
        text.text for text in root.iter(f"{SVG}text")
    }


def test_every_row_is_drawn_with_its_figure() -> None:
    found = results()
    plots = make_plots(found)
    assert list(plots) == ["rates.svg", "share.svg", "growth-time.svg", "growth-memory.svg"]
    texts = [x.text for x in ElementTree.fromstring(plots["rates.svg"]).iter(f"{SVG}text")]
    assert set(found["rates"]) <= set(texts)
    assert "95.0" in texts
    for drawing in plots.values():
        root = ElementTree.fromstring(drawing)
        width = float(root.get("width", "0"))
        assert all(0 <= float(x.get("x", "0")) <= width for x in root.iter(f"{SVG}text"))


def test_without_growth_there_is_no_curve() -> None:
    found = {key: value for key, value in results().items() if key != "growth"}
    assert list(make_plots(found)) == ["rates.svg", "share.svg"]
    assert "Growth" not in make_page(found, [])


def test_the_page_says_what_was_measured_on_what() -> None:
    page = make_page(results(), ["growth-time.svg"])
    assert "2026-01-31" in page
    assert "| **tagger** | 95.0 | 90.0 – 100.0 | 28,500 | 0.202 | ours |" in page
    assert "3.00 TFLOP/s" in page
    assert "| tagger | 990 | 1.23 % |" in page
    assert "| ncbi-disease | 85.12 | 85.13 |" in page
    assert "1,251 bytes a citation" in page
    assert "| encoder | 18.00 | 94.7 % |" in page
    assert "takes 5.6 % of the encoder's; the cores were busy for 95 %" in page
    assert "short form" not in page
    short = results()
    short["settings"]["quick"] = True
    assert "short form" in make_page(short, [])


def test_the_page_can_be_written_again_from_what_it_kept(tmp_path: Path) -> None:
    (tmp_path / "speed").mkdir()
    (tmp_path / "speed" / "old.svg").write_text("")
    write_page(results(), tmp_path)
    first = {path.name: path.read_text() for path in tmp_path.rglob("*.*")}
    kept = json.loads((tmp_path / "speed" / "results.json").read_text())
    write_page(kept, tmp_path)
    assert {path.name: path.read_text() for path in tmp_path.rglob("*.*")} == first
    assert "old.svg" not in first
    for line in first["speed.md"].splitlines():
        if line.startswith("!["):
            assert (tmp_path / line.partition("(")[2].rstrip(")")).is_file()
