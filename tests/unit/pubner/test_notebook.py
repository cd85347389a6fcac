"""The notebook in `docs/`: its cells run, and it shows what it says."""

import json

import pandas

import pubner
from tests.support.notebooks import run_cells
from tests.support.root import ROOT

NOTEBOOK = ROOT / "docs" / "annotate-abstracts.ipynb"


def test_the_notebook_runs_and_shows_what_is_stored_in_it() -> None:
    shown = run_cells(NOTEBOOK)
    assert shown[0] == pubner.load("default", device="cpu").tasks
    frame = next(value for value in shown if isinstance(value, pandas.DataFrame))
    assert {"Chemical", "Disease", "Gene"} <= set(frame.entity_type)
    [document] = [value for value in shown if isinstance(value, pubner.Document)]
    assert "<mark" in document._repr_html_()
    stored = json.loads(NOTEBOOK.read_text())["cells"]
    outputs = [cell["outputs"] for cell in stored if cell["cell_type"] == "code"]
    assert [bool(output) for output in outputs] == [value is not None for value in shown]
