"""The HTML pages on the screen of a phone, in a real browser."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.support.browser import layout_of
from tests.support.drift import annotations, write_block
from tests.unit.training.evaluation.test_errors_page import FOUND, JNLPBA
from tests.unit.training.evaluation.test_errors_page import page as errors_page
from tests.unit.training.gate.test_report import OneGene, a_report, some_measured
from training.commands.drift import run as drift
from training.evaluation.errors_page import write_page
from training.gate.canary import compare_canary
from training.gate.page import render_page
from training.gate.sample import CanaryCitation, CanarySample

PHONE = 390
LONG = "N-acetylgalactosaminyltransferase-like-protein-" * 6


def errors(folder: Path) -> Path:
    words = tuple(LONG if word == "GATA-1" else word for word in JNLPBA.words)
    write_page(
        errors_page(replace(JNLPBA, words=words), JNLPBA, found=[FOUND, FOUND]),
        folder / "errors.html",
    )
    return folder / "errors.html"


def gate(folder: Path) -> Path:
    text = f"{LONG} & p53\nTumour."
    sample = CanarySample(
        (CanaryCitation(77, "new.xml", text),), (f"/data/{LONG}.xml",), left_out=1
    )
    one = replace(
        some_measured(),
        canary=compare_canary(sample, OneGene(0, 40), OneGene(5, 60)),
    )
    page = folder / "gate.html"
    page.write_text(render_page(replace(a_report(one), why=LONG, registry=f"/srv/{LONG}")), "utf-8")
    return page


def drift_page(folder: Path) -> Path:
    begin = datetime(2026, 11, 1, tzinfo=UTC)
    heads = ("bc2gm", "bc5cdr", "jnlpba", "ncbi-disease")
    for day, rate in enumerate((2.0, 2.0, 9.0)):
        write_block(
            folder / "out",
            f"block-{day}.parquet",
            annotations(600, rate=rate, heads=heads, seed=day),
            annotated_at=begin + timedelta(days=day),
            first=1000 * day,
        )
    page = folder / "drift.html"
    drift([str(folder / "out"), "--html", str(page), "--sample", "0"])
    return page


@pytest.mark.parametrize("make", [errors, gate, drift_page])
def test_nothing_is_out_of_reach_on_a_phone(
    make: Callable[[Path], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = make(tmp_path)
    layout = layout_of(page, width=PHONE)
    assert layout.out_of_reach == ()
    assert layout.scroll_width <= layout.width == PHONE


@pytest.mark.parametrize("make", [errors, gate, drift_page])
def test_what_is_put_into_a_page_runs_and_loads_nothing(
    make: Callable[[Path], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = make(tmp_path)
    assert layout_of(page, width=PHONE).refused == ()
    end = '<script>document.title = "ran"</script><img src="https://pubner.invalid/x.png"></body>'
    page.write_text(page.read_text("utf-8").replace("</body>", end), "utf-8")
    refused = layout_of(page, width=PHONE).refused
    assert len([said for said in refused if "Content Security Policy" in said]) == 2
