import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path

import pytest

from schemas.records import Annotation, Mention
from schemas.tasks import TASKS, Task
from tests.support.checkpoints import tiny_checkpoint
from tests.unit.training.gate.test_judging import a_set
from training.gate.canary import compare_canary
from training.gate.judging import HeadChanges, Measured, judge
from training.gate.limits import Limits
from training.gate.measuring import SpeedComparison
from training.gate.page import render_page, tolerances
from training.gate.report import GateReport, manifest_differences, report_json
from training.gate.sample import CanaryCitation, CanarySample
from training.gate.tables import print_gate
from worker.checkpoint.folder import read_manifest
from worker.cli.command import human_console

TEXT = "<b>BRCA1</b> & p53\nTumour."


@dataclass(frozen=True)
class OneGene:
    """Finds one gene in every text."""

    start: int
    end: int
    tasks: tuple[Task, ...] = (TASKS["bc2gm"],)

    def annotate(self, texts: Sequence[str]) -> list[Annotation]:
        kind = self.tasks[0].entity_type("GENE")
        found = Mention("bc2gm", "GENE", kind, self.start, self.end, 0.5, True, "x")
        return [Annotation((found,)) for _ in texts]


def some_measured() -> Measured:
    sample = CanarySample((CanaryCitation(77, "new.xml", TEXT),), ("/data/new.xml",), left_out=1)
    return Measured(
        heads=HeadChanges(lost=("jnlpba: cell-line",), gained=("bc4chemd",)),
        sets=(a_set(drop=1.2), replace(a_set(), head="bc4chemd", active=None, bootstrap=None)),
        speed=SpeedComparison("citations of the canary", 48, 5000, 5, 2.0, 1.0, 2.0),
        canary=compare_canary(sample, OneGene(3, 8), OneGene(15, 18)),
    )


@pytest.fixture
def measured() -> Measured:
    return some_measured()


def a_report(
    measured: Measured, force: str | None = None, limits: Limits | None = None
) -> GateReport:
    limits = limits or Limits()
    return GateReport(
        registry="/srv/registry",
        candidate="c" * 16,
        active=None if measured.first else "a" * 16,
        who="<ann>",
        when=datetime(2026, 11, 2, 12, tzinfo=UTC),
        why="more & better",
        force=force,
        settings={"split": "devel", "context": "window", "device": "cpu"},
        limits=limits,
        measured=measured,
        breaches=judge(measured, limits),
        differences=(),
    )


class Reader(HTMLParser):
    """Checks that tags close in order; collects the text and what would be loaded."""

    VOID = ("meta", "br", "link", "img", "hr")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loads: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.loads += [value or "" for name, value in attrs if name == "src"]
        if tag in ("script", "link"):
            self.loads.append(tag)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.text += data


def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    reader.close()
    assert reader.open == []
    assert reader.loads == []
    return reader


def test_the_verdict_is_that_of_the_breaches_and_of_force(measured: Measured) -> None:
    assert a_report(measured).verdict == "refused"
    assert a_report(measured, force="wanted").verdict == "forced"
    assert a_report(Measured(sets=(a_set(),)), force="wanted").verdict == "passed"
    assert a_report(Measured(candidate_problem="x"), force="wanted").verdict == "refused"


def test_the_json_says_all_that_was_measured(measured: Measured) -> None:
    found = json.loads(json.dumps(report_json(a_report(measured))))
    assert found["verdict"] == "refused"
    assert {one["option"] for one in found["breaches"]} == {
        "--max-f1-drop",
        "--allow-lost-heads",
        "--max-changed-share",
    }
    assert found["when"] == "2026-11-02T12:00:00+00:00"
    assert found["sets"][0]["bootstrap"]["p_value"] == 0.04
    assert found["sets"][1]["active"] is None
    assert found["canary"]["types"][0]["changed_share"] == 1.0
    (example,) = found["canary"]["examples"]
    assert [(one["change"], one["active"], one["candidate"]) for one in example["changes"]] == [
        ("gained", None, {"start": 3, "end": 8, "label": "GENE", "text": "BRCA1"}),
        ("lost", {"start": 15, "end": 18, "label": "GENE", "text": "p53"}, None),
    ]
    assert any("1 records of the canary's files" in note for note in found["notes"])


def test_calibration_errors_are_from_0_to_1_wherever_they_are_shown(
    measured: Measured, capsys: pytest.CaptureFixture[str]
) -> None:
    report = a_report(measured)
    assert report.measured.sets[0].candidate is not None
    assert report.measured.sets[0].candidate.ece == 0.01
    print_gate(report, human_console())
    printed = capsys.readouterr().out
    assert "ECE from 0 to 1" in printed
    assert printed.count(" 0.010 ") >= 2
    text = read(render_page(report)).text
    assert "expected calibration error (ECE) from 0 to 1" in text
    assert text.count("0.010") >= 2


def test_the_page_is_whole_and_escapes_what_it_shows(measured: Measured) -> None:
    page = render_page(a_report(measured))
    text = read(page).text
    assert "Refused" in text
    assert "strict F1 falls by 1.20 points" in text
    assert "PMID 77" in text
    assert "more & better" in text
    assert "<ann>" in text
    assert "<b>+BRCA1GENE</b> & p53" in text
    assert "<b>BRCA1</b> & −p53GENE" in text
    assert "<ann>" not in page


@pytest.mark.parametrize(
    ("report", "said"),
    [
        (a_report(Measured(first=True)), "Passed"),
        (a_report(Measured(sets=(a_set(),))), "Passed"),
        (a_report(Measured()), "has no basis for a verdict"),
        (a_report(Measured(), force="because"), "Refused, but forced"),
        (a_report(Measured(active_problem="it is altered")), "it is altered"),
        (a_report(Measured(first=True, candidate_problem="no numbers")), "cannot be used"),
    ],
)
def test_every_verdict_has_a_page(report: GateReport, said: str) -> None:
    assert said in read(render_page(report)).text


def test_tolerances_show_the_worst_of_each_and_which_are_broken(measured: Measured) -> None:
    rows = {row.option: row for row in tolerances(a_report(measured))}
    assert rows["--max-f1-drop"].worst == "−1.20 points"
    assert rows["--max-f1-drop"].broken
    assert rows["--max-ece-rise"].limit == "+0.02 (from 0 to 1)"
    assert rows["--max-ece-rise"].worst == "+0.000"
    assert rows["--min-speed"].worst == "2.00 of the active"
    assert not rows["--min-speed"].broken
    assert rows["--max-changed-share"].worst == "100.0 % (Gene)"
    assert rows["--max-changed-mentions"].worst == ""  # too few of them to tell
    assert rows["--allow-lost-heads"].worst == "jnlpba: cell-line"


def test_differences_of_manifests_name_what_shapes_a_checkpoint(tmp_path: Path) -> None:
    one = read_manifest(tiny_checkpoint(tmp_path / "1"))
    two = read_manifest(tiny_checkpoint(tmp_path / "2", tasks=["bc2gm"], seed=1))
    assert manifest_differences(one, one) == ()
    assert manifest_differences(None, two) == ()
    found = {diff.entry: (diff.active, diff.candidate) for diff in manifest_differences(one, two)}
    assert found == {"head ncbi-disease": ("Disease (Disease)", None)}
    other = two.model_copy(update={"recipe": {**two.recipe, "seed": 99}})
    (diff,) = manifest_differences(two, other)
    assert (diff.entry, diff.active, diff.candidate) == ("recipe seed", "13", "99")
