"""`python -m experiments` without training: gather, and write the page."""

import json
from pathlib import Path

import pytest

from experiments.__main__ import main
from tests.support.experiments import write_all_runs


def test_gather_and_page_from_results_and_page_again_from_the_data(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_all_runs(tmp_path / "runs", (1,))
    docs = tmp_path / "docs"
    words = [
        "--output",
        str(tmp_path / "runs"),
        "--no-run",
        "--gather",
        str(docs / "experiments.json"),
    ]
    assert main([*words, "--page", str(docs)]) == 0
    printed = "".join(capsys.readouterr())
    assert "best on devel: mtl-" in printed
    assert "experiments.md" in printed
    table = json.loads((docs / "experiments.json").read_text())
    assert all(row["status"] == "run" for row in table["rows"])
    page = (docs / "experiments.md").read_bytes()
    (docs / "experiments.md").unlink()
    assert main(["--page", str(docs)]) == 0
    assert (docs / "experiments.md").read_bytes() == page


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "--output DIR is needed"),
        (["--gather", "x.json"], "--output DIR is needed"),
        (["--page", "nowhere"], "experiments.json' cannot be read"),
        (["--output", "x", "--cell", "mtl-unheard"], "no cell 'mtl-unheard'"),
    ],
)
def test_a_wrong_option_is_one_clear_line(
    words: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*words]) == 2
    error = capsys.readouterr().err
    assert says in error
    assert len(error.strip().splitlines()) == 1
