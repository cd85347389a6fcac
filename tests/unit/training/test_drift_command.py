"""`pubner drift`: a table, JSON and a page; an exit status for cron."""

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from schemas.errors import CheckpointError, InputError, OutputError, SettingsError
from schemas.manifest import DriftReference
from schemas.records import Annotation
from tests.support.checkpoints import tiny_checkpoint
from tests.support.drift import annotations, reference, write_block
from training.drift_command import run
from worker.checkpoint import read_manifest, replace_manifest
from worker.tagger import set_id

DAY = datetime(2026, 1, 31, 12, tzinfo=UTC)
LIMITS = ("--min-citations", "50", "--min-mentions", "50")
REFERENCE = reference(annotations(600, seed=7))


def checkpoint_with(
    folder: Path, made: DriftReference | None, *, tasks: tuple[str, ...] = ("bc2gm",), seed: int = 0
) -> tuple[str, Path]:
    """Return the id and folder of a tiny checkpoint that has a reference."""
    tiny_checkpoint(folder, tasks=tasks, seed=seed)
    manifest = read_manifest(folder)
    replace_manifest(folder, manifest.model_copy(update={"reference": made}))
    return manifest.id, folder


def write_days(
    root: Path, days: list[list[Annotation]], checkpoint_id: str, text: str | None = "a cell"
) -> None:
    for number, found in enumerate(days):
        write_block(
            root,
            f"s.xml-0-{number}.parquet",
            found,
            checkpoint_id=checkpoint_id,
            annotated_at=DAY + timedelta(days=number),
            first=1000 * number,
            text=text,
        )


def asked(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, dict[str, Any], str]:
    """Run with `--json -`; return the status, the JSON and what is for people."""
    status = run([str(word) for word in (*words, "--json", "-", *LIMITS)])
    printed = capsys.readouterr()
    return status, json.loads(printed.out), printed.err


@pytest.fixture
def same() -> list[list[Annotation]]:
    return [annotations(100, seed=number) for number in range(3)]


def test_the_same_population_raises_no_warning(
    same: list[list[Annotation]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name, folder = checkpoint_with(tmp_path / "checkpoint", REFERENCE)
    write_days(tmp_path / "out", same, name)
    status, found, said = asked(
        capsys, tmp_path / "out", "--checkpoint", folder, "--fail-on-warning"
    )
    assert status == 0
    [one] = found["checkpoints"]
    assert (one["id"], one["has_reference"]) == (name, True)
    assert one["reference"] == REFERENCE.model_dump(mode="json")
    assert [day["day"] for day in one["days"]] == ["2026-01-31", "2026-02-01", "2026-02-02"]
    for day, expected in zip(one["days"], same, strict=True):
        head = day["heads"]["bc2gm"]
        assert day["citations"] == 100 == day["sampled_texts"]
        assert head["mentions"] == sum(len(item.mentions) for item in expected)
        assert head["mentions_per_citation"] == head["mentions"] / 100
        assert 0 <= head["psi_excess"] < head["psi"] < 0.25
        assert (day["warnings"], day["unknown_share"]) == ([], 0)
    assert "no warnings" in said
    assert "compared with its reference, 600 citations of made up" in said


def test_what_drifts_is_told_in_table_json_page_and_status(
    same: list[list[Annotation]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name, folder = checkpoint_with(tmp_path / "checkpoint", REFERENCE)
    drifted = annotations(100, rate=8.0, shape=(2.0, 5.0))
    write_days(tmp_path / "out", [*same, drifted], name)
    write_block(
        tmp_path / "out",
        "t.xml-0-0.parquet",
        annotations(100),
        checkpoint_id=name,
        annotated_at=DAY + timedelta(days=4),
        text="a \u4e16\u754c",
    )
    page = tmp_path / "pages" / "drift.html"
    words = (tmp_path / "out", "--checkpoint", folder, "--html", page)
    status, found, said = asked(capsys, *words)
    assert status == 0
    days = found["checkpoints"][0]["days"]
    assert [[one["kind"] for one in day["warnings"]] for day in days] == [
        *([[]] * 3),
        ["mentions_per_citation", "score_psi"],
        ["unknown_pieces"],
    ]
    assert days[4]["unknown_share"] == pytest.approx(2 / 3)
    assert "warning: 2026-02-03" in said
    html = page.read_text("utf-8")
    for day in days:
        for warning in day["warnings"]:
            assert warning["message"] in html
    assert html.count('class="drifted"') == 2
    # The plot is whole XML, and nothing is loaded from elsewhere.
    [plot] = re.findall(r"<svg.*?</svg>", html, re.DOTALL)
    assert ElementTree.fromstring(plot).tag.endswith("svg")
    assert not re.search(r"<(script|link|img)|(src|href)=\"http", html)
    assert asked(capsys, *words, "--fail-on-warning")[0] == 1
    before = page.read_bytes()
    asked(capsys, *words)
    assert page.read_bytes() == before
    loose = ("--max-psi", 9, "--max-mentions-change", 9, "--max-unknown-points", 0.7)
    assert asked(capsys, *words, "--fail-on-warning", *loose)[0] == 0
    until = ("--until", "2026-02-02", "--fail-on-warning")
    status, found, _ = asked(capsys, *words, *until)
    assert (status, len(found["checkpoints"][0]["days"])) == (0, 3)


@pytest.mark.parametrize("given", [True, False])
def test_without_a_reference_the_first_day_is_one_and_that_is_said(
    given: bool,
    same: list[list[Annotation]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    name, folder = checkpoint_with(tmp_path / "checkpoint", None)
    other = tiny_checkpoint(tmp_path / "other", seed=9)
    write_days(tmp_path / "out", [*same, annotations(100, rate=8.0)], name)
    words = (tmp_path / "out", "--checkpoint", folder if given else other)
    status, found, said = asked(capsys, *words, "--html", tmp_path / "drift.html")
    [one] = found["checkpoints"]
    assert (status, one["has_reference"], one["reference"]) == (0, False, None)
    assert one["days"][0]["heads"]["bc2gm"]["change"] == pytest.approx(0, abs=1e-5)
    assert [len(day["warnings"]) for day in one["days"]] == [0, 0, 0, 1]
    why = "it has no reference" if given else "it was not given with --checkpoint"
    assert f"its own first day, 2026-01-31, 100 citations: {why}" in said
    assert why in (tmp_path / "drift.html").read_text("utf-8")
    # Word pieces can be counted where the tokeniser is at hand, reference or not.
    assert all((day["unknown_share"] is not None) == given for day in one["days"])


def test_a_set_of_checkpoints_is_known_by_its_members(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    diseases = reference(annotations(600, heads=("ncbi-disease",)), ("ncbi-disease",))
    first, one = checkpoint_with(tmp_path / "one", REFERENCE)
    second, two = checkpoint_with(tmp_path / "two", diseases, tasks=("ncbi-disease",), seed=1)
    found = annotations(100, heads=("bc2gm", "ncbi-disease"))
    write_days(tmp_path / "out", [found], set_id([first, second]))
    _, report, _ = asked(capsys, tmp_path / "out", "--checkpoint", f"{one},{two}")
    [joined] = report["checkpoints"]
    assert joined["has_reference"]
    assert set(joined["reference"]["heads"]) == {"bc2gm", "ncbi-disease"}
    assert joined["days"][0]["warnings"] == []
    assert joined["days"][0]["heads"]["ncbi-disease"]["psi"] is not None


def test_unknown_word_pieces_are_null_where_no_text_is_stored(
    same: list[list[Annotation]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name, folder = checkpoint_with(tmp_path / "checkpoint", REFERENCE)
    write_days(tmp_path / "out", same, name, text=None)
    _, found, _ = asked(capsys, tmp_path / "out", "--checkpoint", folder)
    assert {day["unknown_share"] for day in found["checkpoints"][0]["days"]} == {None}
    write_days(tmp_path / "stored", same, name)
    words = (tmp_path / "stored", "--checkpoint", folder, "--sample")
    for size, expected in (("0", 0), ("7", 7)):
        _, found, _ = asked(capsys, *words, size)
        assert {day["sampled_texts"] for day in found["checkpoints"][0]["days"]} == {expected}


def test_what_cannot_be_done_is_one_line(same: list[list[Annotation]], tmp_path: Path) -> None:
    name, folder = checkpoint_with(tmp_path / "checkpoint", REFERENCE)
    write_days(tmp_path / "out", same, name)
    words = [str(tmp_path / "out"), "--checkpoint", str(folder)]
    with pytest.raises(InputError, match="holds no annotated citation in these days"):
        run([*words, "--since", "2027-01-01"])
    with pytest.raises(InputError, match="no output that can be read"):
        run([str(tmp_path / "nowhere"), *words[1:]])
    with pytest.raises(SettingsError, match="option --since 'yesterday'"):
        run([*words, "--since", "yesterday"])
    with pytest.raises(OutputError, match="it is a folder"):
        run([*words, "--html", str(tmp_path)])
    with pytest.raises(CheckpointError, match="no checkpoint at"):
        run([words[0], "--checkpoint", str(tmp_path / "nowhere")])
