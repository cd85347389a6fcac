"""`pubner checkpoint promote` on real, tiny checkpoints: what goes live, what does not, and why."""

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from pubner import cli
from tests.support.checkpoints import sign_again, tiny_checkpoint, tiny_vocabulary
from tests.support.corpora import write_corpus
from worker.checkpoint.folder import CONFIG, WEIGHTS, read_manifest
from worker.registry.registry import Registry, open_registry

NOW = datetime(2026, 11, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("checkpoints")
    return [tiny_checkpoint(folder / str(seed), seed=seed) for seed in range(2)]


@pytest.fixture
def ids(checkpoints: list[Path]) -> list[str]:
    return [read_manifest(folder).id for folder in checkpoints]


@pytest.fixture
def registry(tmp_path: Path, checkpoints: list[Path]) -> Registry:
    registry = open_registry(str(tmp_path / "registry"))
    for folder in checkpoints:
        registry.publish(folder, who="tester", when=NOW)
    return registry


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with a corpus, and recent citations."""
    write_corpus(tmp_path / "NCBI-disease-IOBES", "Disease", "asthma")
    words = ("the cancer cell", "disease in a gene", "protein of the cell", "human gene x12")
    lines = [
        {"pmid": number, "title": words[number % 4], "abstract": f"With {words[number % 3]}."}
        for number in range(1, 41)
    ]
    (tmp_path / "new.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n")
    return tmp_path


def promote(registry: Registry, place: Path, checkpoint: str, *more: str) -> int:
    words = [checkpoint, "--registry", registry.root, "--why", "a test", "--data", str(place)]
    words += ["--min-speed", "0", "--device", "cpu", "--threads", "1", "--who", "tester", *more]
    return cli.main(["checkpoint", "promote", *words])


def canary(place: Path) -> tuple[str, str]:
    return "--canary", str(place / "new.jsonl")


def report_of(registry: Registry, checkpoint: str) -> dict[str, Any]:
    """The newest report on a checkpoint in the registry, of which there must be a page too."""
    names = registry.objects.names(f"gate/{checkpoint}")
    stem = names[-1].rpartition(".")[0]
    assert names[-2:] == [f"{stem}.html", f"{stem}.json"]
    page = registry.objects.get(f"gate/{checkpoint}/{stem}.html")
    found = registry.objects.get(f"gate/{checkpoint}/{stem}.json")
    assert page is not None
    assert found is not None
    assert page.data.startswith(b"<!DOCTYPE html>")
    return dict(json.loads(found.data))


def active(registry: Registry) -> str | None:
    change = registry.pointer().active
    return None if change is None else change.id


def make_active(registry: Registry, checkpoint: str) -> None:
    registry.move(
        registry.pointer(), checkpoint, action="promote", who="tester", when=NOW, why="the first"
    )


def test_the_first_checkpoint_goes_live_with_its_scores_in_the_report(
    registry: Registry, place: Path, ids: list[str]
) -> None:
    assert promote(registry, place, ids[0][:6], *canary(place)) == 0
    change = registry.active()
    assert (change.id, change.who, change.why, change.forced) == (ids[0], "tester", "a test", False)
    assert change.report is not None
    assert registry.objects.get(change.report) is not None
    report = report_of(registry, ids[0])
    assert (report["verdict"], report["active"]) == ("passed", None)
    assert [one["head"] for one in report["sets"]] == ["ncbi-disease"]
    assert report["canary"]["citations"] == 40
    assert report["speed"] is None


def test_a_candidate_that_changes_too_much_is_refused(
    registry: Registry, place: Path, ids: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    make_active(registry, ids[0])
    assert promote(registry, place, ids[1], *canary(place)) == 3
    assert active(registry) == ids[0]
    line = capsys.readouterr().err.strip()
    assert line.count("\n") == 0
    assert line.startswith(f"pubner: checkpoint {ids[1]} is refused: canary: ")
    assert "of the mentions change (limit 70 %)" in line
    assert f"The report is {registry.root}/gate/{ids[1]}/" in line
    report = report_of(registry, ids[1])
    assert report["verdict"] == "refused"
    assert {one["option"] for one in report["breaches"]} <= {
        "--max-changed-share",
        "--max-changed-mentions",
    }
    assert report["speed"]["ratio"] > 0
    assert report["sets"][0]["bootstrap"]["resamples"] == 10_000


def test_force_overrules_the_gate_and_the_history_says_so(
    registry: Registry, place: Path, ids: list[str]
) -> None:
    make_active(registry, ids[0])
    assert promote(registry, place, ids[1], *canary(place), "--force", "it is wanted") == 0
    change = registry.active()
    assert (change.id, change.previous, change.forced) == (ids[1], ids[0], True)
    assert change.why == "a test (forced: it is wanted)"
    assert report_of(registry, ids[1])["verdict"] == "forced"


def test_force_is_no_force_where_the_gate_passes(
    registry: Registry, place: Path, ids: list[str]
) -> None:
    make_active(registry, ids[0])
    wide = ("--max-changed-share", "1", "--max-changed-mentions", "1", "--max-f1-drop", "100")
    more = (*canary(place), *wide, "--max-ece-rise", "1", "--force", "in haste")
    assert promote(registry, place, ids[1], *more) == 0
    assert not registry.active().forced
    assert registry.active().why == "a test"


def test_a_dry_run_judges_and_changes_nothing(
    registry: Registry, place: Path, ids: list[str], tmp_path: Path
) -> None:
    make_active(registry, ids[0])
    page, data = tmp_path / "pages" / "gate.html", tmp_path / "gate.json"
    more = ("--dry-run", "--html", str(page), "--json", str(data))
    assert promote(registry, place, ids[1], *canary(place), *more) == 3
    assert active(registry) == ids[0]
    assert registry.objects.names(f"gate/{ids[1]}") == []
    assert page.read_text().startswith("<!DOCTYPE html>")
    written = json.loads(data.read_text())
    assert (written["promoted"], written["verdict"], written["report"]) == (False, "refused", None)


def test_without_anything_to_judge_by_nothing_is_promoted(
    registry: Registry, tmp_path: Path, ids: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    make_active(registry, ids[0])
    (tmp_path / "empty").mkdir()
    assert promote(registry, tmp_path / "empty", ids[1]) == 3
    assert active(registry) == ids[0]
    assert "the gate has no basis for a verdict" in capsys.readouterr().err


def test_a_canary_alone_is_enough_only_where_that_is_said(
    registry: Registry,
    tmp_path: Path,
    place: Path,
    ids: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    make_active(registry, ids[0])
    (tmp_path / "empty").mkdir()
    wide = ("--max-changed-share", "1", "--max-changed-mentions", "1")
    assert promote(registry, tmp_path / "empty", ids[1], *canary(place), *wide) == 3
    assert "a canary alone cannot show which checkpoint is better" in capsys.readouterr().err
    report = report_of(registry, ids[1])
    assert [one["option"] for one in report["breaches"]] == ["--canary-only"]
    for head in ("ncbi-disease", "bc2gm"):
        assert any(f"{head!r} was not scored on any evaluation set" in x for x in report["notes"])
    more = (*canary(place), *wide, "--canary-only")
    assert promote(registry, tmp_path / "empty", ids[1], *more) == 0
    assert active(registry) == ids[1]
    assert not registry.active().forced


def spoil(source: Path, folder: Path, how: str) -> str:
    """Copy a checkpoint into `folder` with a fault that its digests do not tell; return its id."""
    shutil.copytree(source, folder)
    if how == "does not load":
        config = json.loads((folder / CONFIG).read_text())
        (folder / CONFIG).write_text(json.dumps({**config, "hidden_size": 64}))
    else:
        weights = load_file(folder / WEIGHTS)
        if how == "no numbers":
            weights["heads.bias"][:] = float("nan")
        else:  # of one word that the trial texts lack
            (name,) = [name for name in weights if "word_embeddings" in name]
            weights[name][tiny_vocabulary()["gene"]] = float("nan")
        save_file(weights, folder / WEIGHTS)
    sign_again(folder)
    return read_manifest(folder).id


FAULTS = pytest.mark.parametrize("how", ["does not load", "no numbers", "no number for one word"])


@FAULTS
def test_an_active_checkpoint_that_cannot_be_used_is_replaced_by_force_alone(
    registry: Registry,
    place: Path,
    ids: list[str],
    checkpoints: list[Path],
    tmp_path: Path,
    how: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    broken = spoil(checkpoints[0], tmp_path / "broken", how)
    registry.publish(tmp_path / "broken", who="tester", when=NOW)
    make_active(registry, broken)
    assert promote(registry, place, ids[1], *canary(place)) == 3
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    assert "the active checkpoint cannot be compared: checkpoint " in line
    report = report_of(registry, ids[1])
    (breach,) = report["breaches"]
    assert breach["option"] == "--force"
    assert report["sets"][0]["candidate"] is not None
    assert report["sets"][0]["active"] is None
    assert not report["canary"]["compared"]
    assert promote(registry, place, ids[1], *canary(place), "--force", "it is broken") == 0
    assert active(registry) == ids[1]
    assert registry.active().forced


@pytest.mark.parametrize("first", [True, False])
@FAULTS
def test_a_candidate_that_cannot_be_used_is_refused_whatever_is_forced(
    registry: Registry,
    place: Path,
    ids: list[str],
    checkpoints: list[Path],
    tmp_path: Path,
    how: str,
    first: bool,
    capsys: pytest.CaptureFixture[str],
) -> None:
    broken = spoil(checkpoints[1], tmp_path / "broken", how)
    registry.publish(tmp_path / "broken", who="tester", when=NOW)
    if not first:
        make_active(registry, ids[0])
    assert promote(registry, place, broken, *canary(place), "--force", "now") == 3
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    assert f"checkpoint {broken} is refused: the candidate cannot be used: checkpoint" in line
    assert "--force does not overrule that" in line
    report = report_of(registry, broken)
    assert (report["verdict"], report["breaches"][0]["final"]) == ("refused", True)
    assert active(registry) == (None if first else ids[0])


def test_a_promotion_that_came_while_the_gate_measured_stands(
    registry: Registry,
    place: Path,
    ids: list[str],
    checkpoints: list[Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    from training.commands.promote import PromoteSettings
    from training.commands.promote import promote as run

    make_active(registry, ids[0])
    settings = PromoteSettings(
        id=ids[1],
        registry=registry.root,
        why="ours",
        data=place,
        canary=(str(place / "new.jsonl"),),
        force="whatever it says",
        device="cpu",
        threads=1,
    )
    seconds = iter(range(1_000))

    def clock() -> float:
        second = next(seconds)
        if second == 0:  # the gate has begun to measure
            make_active(open_registry(registry.root), ids[0])
        return second

    from schemas.errors import RegistryError

    with pytest.raises(RegistryError, match=r"moved to .* by tester .* meanwhile"):
        run(settings, clock=clock)
    assert active(registry) == ids[0]
    assert len(registry.pointer().changes) == 2
    assert report_of(registry, ids[1])["verdict"] in ("passed", "forced")


def test_a_damaged_candidate_is_never_promoted(
    registry: Registry, place: Path, ids: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    make_active(registry, ids[0])
    weights = Path(registry.root) / "checkpoints" / ids[1] / WEIGHTS
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    assert promote(registry, place, ids[1], *canary(place), "--force", "now") == 2
    assert active(registry) == ids[0]
    assert WEIGHTS in capsys.readouterr().err


def test_a_damaged_active_checkpoint_is_replaced_by_force_alone(
    registry: Registry, place: Path, ids: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    make_active(registry, ids[0])
    weights = Path(registry.root) / "checkpoints" / ids[0] / WEIGHTS
    weights.write_bytes(b"nothing")
    assert promote(registry, place, ids[1], *canary(place)) == 3
    assert "the active checkpoint cannot be compared" in capsys.readouterr().err
    assert promote(registry, place, ids[1], *canary(place), "--force", "it is broken") == 0
    assert active(registry) == ids[1]


def test_the_active_checkpoint_again_is_nothing_to_do(
    registry: Registry, place: Path, ids: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    make_active(registry, ids[0])
    assert promote(registry, place, ids[0]) == 0
    assert "active already" in capsys.readouterr().out
    assert len(registry.pointer().changes) == 1
    assert registry.objects.names(f"gate/{ids[0]}") == []


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--split", "test"), "must not use test splits"),
        (("--corpus", "jnlpba"), "jnlpba"),
        (("--force", " "), "expected a reason, got a blank one"),
        (("--canary", "missing.xml"), "names no file"),
    ],
)
def test_wrong_options_are_one_line(
    registry: Registry,
    place: Path,
    ids: list[str],
    more: tuple[str, ...],
    said: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    make_active(registry, ids[0])
    assert promote(registry, place, ids[1], *more) == 2
    line = capsys.readouterr().err
    assert said in line
    assert line.count("\n") == 1
    assert active(registry) == ids[0]


def test_a_dry_run_that_passes_says_so(
    registry: Registry, place: Path, ids: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert promote(registry, place, ids[0], "--dry-run") == 0
    assert "would be let through" in capsys.readouterr().out
    assert active(registry) is None
