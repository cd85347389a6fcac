"""`pubner drift`: a table, JSON and a page; an exit status for cron."""

import json
import re
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from schemas.errors import (
    CheckpointError,
    InputError,
    OutputError,
    SettingsError,
)
from schemas.manifest import DriftReference
from schemas.records import Annotation
from tests.support.checkpoints import tiny_checkpoint
from tests.support.drift import annotations, reference, write_block
from tests.support.registries import damage
from training.commands.drift import run
from worker.checkpoint.folder import MANIFEST, read_manifest, replace_manifest, set_id
from worker.registry.registry import CHECKPOINTS, Registry, open_registry

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


@pytest.mark.parametrize(("reading", "share"), [(None, 0.5), ("1", 0.0)])
def test_stored_texts_are_split_as_the_checkpoint_reads_them(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    reading: str | None,
    share: float,
) -> None:
    folder = tiny_checkpoint(tmp_path / "checkpoint", tasks=("bc2gm",), reading=reading)
    write_days(tmp_path / "out", [annotations(100)], read_manifest(folder).id, "a ｃｅｌｌ")
    _, found, _ = asked(capsys, tmp_path / "out", "--checkpoint", folder)
    assert [day["unknown_share"] for day in found["checkpoints"][0]["days"]] == [share]


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
    with pytest.raises(SettingsError, match="there is no such folder"):
        run([str(tmp_path / "nowhere"), *words[1:]])
    with pytest.raises(SettingsError, match="option --since 'yesterday'"):
        run([*words, "--since", "yesterday"])
    with pytest.raises(OutputError, match="it is a folder"):
        run([*words, "--html", str(tmp_path)])
    with pytest.raises(CheckpointError, match="no checkpoint at"):
        run([words[0], "--checkpoint", str(tmp_path / "nowhere")])


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    """A registry in which another checkpoint, without reference, is published."""
    made = open_registry(str(tmp_path / "registry"))
    _, folder = checkpoint_with(tmp_path / "another", None, seed=5)
    made.publish(folder, who="ann", when=DAY)
    return made


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """A checkpoint that annotated nothing, to be read instead of the shipped one."""
    return tiny_checkpoint(tmp_path / "other", seed=9)


def test_the_reference_of_a_published_checkpoint_is_found_in_its_registry(
    same: list[list[Annotation]],
    registry: Registry,
    other: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    name, folder = checkpoint_with(tmp_path / "checkpoint", REFERENCE)
    registry.publish(folder, who="ann", when=DAY)
    write_days(tmp_path / "out", same, name)
    words = (tmp_path / "out", "--checkpoint", other)
    monkeypatch.setenv("PUBNER_REGISTRY", registry.root)
    _, found, said = asked(capsys, *words)
    [one] = found["checkpoints"]
    assert (one["at_hand"], one["has_reference"]) == (True, True)
    assert one["reference"] == REFERENCE.model_dump(mode="json")
    assert {day["sampled_texts"] for day in one["days"]} == {100}
    assert "compared with its reference" in said
    # Texts are read by the checkpoint's tokeniser, so only then all of it must be whole.
    damage(registry, name)
    with pytest.raises(CheckpointError, match="altered"):
        run([str(word) for word in words])
    _, found, _ = asked(capsys, *words, "--sample", 0)
    assert found["checkpoints"][0]["has_reference"]
    # Checkpoints that annotated nothing in these days are not looked at.
    write_days(tmp_path / "nothing", same, "c1")
    _, found, _ = asked(capsys, tmp_path / "nothing", *words[1:])
    assert not found["checkpoints"][0]["at_hand"]


def test_a_checkpoint_that_is_not_published_is_not_at_hand(
    same: list[list[Annotation]],
    registry: Registry,
    other: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    name, folder = checkpoint_with(tmp_path / "checkpoint", REFERENCE)
    write_days(tmp_path / "out", same, name)
    where = ("--checkpoint", other, "--registry", registry.root)
    _, found, said = asked(capsys, tmp_path / "out", *where)
    assert not found["checkpoints"][0]["at_hand"]
    assert "it was not given with --checkpoint, and no --registry has it" in said
    # Nor is one whose publication broke off: its manifest is there, its record is not.
    shutil.copytree(folder, Path(registry.root) / CHECKPOINTS / name)
    assert not asked(capsys, tmp_path / "out", *where)[1]["checkpoints"][0]["at_hand"]
    # What is no id names nothing outside the registry.
    write_days(tmp_path / "strange", same, "../checkpoint")
    assert not asked(capsys, tmp_path / "strange", *where)[1]["checkpoints"][0]["at_hand"]


def test_a_named_folder_goes_before_the_registry_and_that_before_the_shipped_checkpoint(
    same: list[list[Annotation]],
    registry: Registry,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    name, folder = checkpoint_with(tmp_path / "checkpoint", REFERENCE)
    registry.publish(folder, who="ann", when=DAY)
    own = reference(annotations(700, seed=8))
    checkpoint_with(folder, own)
    write_days(tmp_path / "out", same, name)

    def compared_with(*more: object) -> int:
        _, found, _ = asked(capsys, tmp_path / "out", "--registry", registry.root, *more)
        return int(found["checkpoints"][0]["reference"]["citations"])

    assert compared_with("--checkpoint", folder) == 700
    monkeypatch.setattr("worker.checkpoint.folder.default_checkpoint", lambda: folder)
    assert compared_with() == 600
    assert compared_with("--checkpoint", "default") == 700
    checkpoint_with(folder, None)
    assert compared_with("--checkpoint", folder) == 600


def test_a_registry_that_cannot_be_read_is_one_line(
    same: list[list[Annotation]], registry: Registry, other: Path, tmp_path: Path
) -> None:
    name, folder = checkpoint_with(tmp_path / "checkpoint", REFERENCE)
    registry.publish(folder, who="ann", when=DAY)
    write_days(tmp_path / "out", same, name)
    words = [str(tmp_path / "out"), "--checkpoint", str(other), "--registry"]
    with pytest.raises(SettingsError, match="there is no such folder"):
        run([*words, str(tmp_path / "nowhere")])
    (Path(registry.root) / CHECKPOINTS / name / MANIFEST).write_text("{}")
    with pytest.raises(CheckpointError, match=name):
        run([*words, registry.root])


def test_days_that_are_not_judged_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name, folder = checkpoint_with(tmp_path / "checkpoint", REFERENCE)
    page = tmp_path / "drift.html"
    drifted = annotations(49, rate=8.0, shape=(2.0, 5.0))
    write_days(tmp_path / "one", [drifted], name)
    words = ("--checkpoint", folder, "--html", page, "--fail-on-warning")
    status, found, said = asked(capsys, tmp_path / "one", *words)
    sentence = "1 of 1 days has fewer than 50 citations: not judged"
    assert status == 0
    assert (found["days"], found["days_not_judged"]) == (1, 1)
    [one] = found["checkpoints"]
    assert one["not_judged"] == [sentence]
    assert one["days"][0]["not_judged"] == "few_citations"
    assert sentence in said.splitlines()
    assert said.splitlines()[-2] == "no warnings, since no day was judged"
    html = page.read_text("utf-8")
    assert f"{sentence}." in html
    assert "No warnings, since no day was judged." in html
    # Of several days those that are enough are judged, and the checkpoint of the others is named.
    write_days(tmp_path / "some", [annotations(100), drifted, drifted], name)
    status, found, said = asked(capsys, tmp_path / "some", *words)
    [one] = found["checkpoints"]
    assert one["not_judged"] == ["2 of 3 days have fewer than 50 citations: not judged"]
    assert [day["not_judged"] for day in one["days"]] == [None, "few_citations", "few_citations"]
    assert f"no warnings; 2 of 3 days not judged: {name}" in said
    # Where all are enough nothing is said.
    write_days(tmp_path / "all", [annotations(100)], name)
    _, found, said = asked(capsys, tmp_path / "all", *words)
    assert found["days_not_judged"] == 0
    assert "not judged" not in said
    assert 'class="note"' not in page.read_text("utf-8")


def test_a_reference_that_is_too_small_or_the_day_itself_judges_nothing_and_that_is_told(
    other: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name, folder = checkpoint_with(tmp_path / "checkpoint", reference(annotations(40)))
    write_days(tmp_path / "out", [annotations(100), annotations(100, rate=9.0)], name)
    _, found, _ = asked(capsys, tmp_path / "out", "--checkpoint", folder)
    assert found["checkpoints"][0]["not_judged"] == [
        "2 of 2 days are not judged: the reference has fewer than 50 citations"
    ]
    _, found, said = asked(capsys, tmp_path / "out", "--checkpoint", other)
    assert found["checkpoints"][0]["not_judged"] == [
        "1 of 2 days is what the others are compared with: not judged"
    ]
    assert "no warnings" not in said
