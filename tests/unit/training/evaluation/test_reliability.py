"""The reliability diagram: deterministic, a panel a head, nothing to load."""

from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from schemas.errors import OutputError
from training.evaluation.calibration import Bin
from training.evaluation.reliability import write_reliability

BEFORE = (Bin(10, 0.5, 0.3), Bin(10, 0.9, 0.6))
AFTER = (Bin(10, 0.4, 0.35), Bin(10, 0.7, 0.65))


def test_the_same_bins_give_the_same_bytes_with_a_panel_a_head(tmp_path: Path) -> None:
    panels: dict[str, dict[str, tuple[Bin, ...]]] = {
        "bc2gm": {"before": BEFORE, "after": AFTER},
        "jnlpba": {"": ()},
        "x": {"": BEFORE},
    }
    first, second = tmp_path / "a" / "plot.svg", tmp_path / "b.svg"
    write_reliability(panels, first, title="a checkpoint")
    write_reliability(panels, second, title="a checkpoint")
    assert first.read_bytes() == second.read_bytes()
    assert [path.name for path in first.parent.iterdir()] == ["plot.svg"]
    text = "".join(ET.parse(first).getroot().itertext())
    for said in ("bc2gm", "jnlpba", "a checkpoint", "before: ECE 0.250", "after: ECE 0.050"):
        assert said in text
    assert "20 spans found" in text
    assert "<dc:date>" not in first.read_text("utf-8")


def test_a_file_that_cannot_be_written_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", "utf-8")
    with pytest.raises(OutputError, match="cannot write"):
        write_reliability({"bc2gm": {"": BEFORE}}, tmp_path / "file" / "plot.svg")
