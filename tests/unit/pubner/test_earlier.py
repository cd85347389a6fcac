"""What earlier code wrote is read and continued: `tests/data/earlier.tar.xz` was made by it."""

import json
import re
import tarfile
from pathlib import Path

import optuna
import pytest

import pubner
from pipelines.dead_letters.ledger import Ledger
from pipelines.feed.state import load_state
from pipelines.output.manifest import open_existing
from pubner import cli
from schemas.records import SourcePosition
from tests.support.root import ROOT

DATA = ROOT / "tests" / "data"
ID = "b6c470d82cbd3456"
OPTIONS = [
    line.split(": ")
    for line in (DATA / "earlier-options.txt").read_text().splitlines()
    if not line.startswith("#")
]


@pytest.fixture
def earlier(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    with tarfile.open(DATA / "earlier.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def summary_of(*words: str) -> dict[str, object]:
    assert cli.main([*words, "--json=summary.json"]) == 0
    found: dict[str, object] = json.loads(Path("summary.json").read_text())
    return found


def test_an_output_is_continued(earlier: Path) -> None:
    words = ["--output=output", "--checkpoint=dictionary", "--block-size=20", "--threads=1"]
    again = summary_of("annotate", "a.jsonl", *words)
    assert (again["citations"], again["dead_letters"], again["blocks_written_now"]) == (5, 1, 0)
    citation = {"pmid": 2, "pmid_version": 2, "title": "Asthma again", "abstract": ""}
    Path("b.jsonl").write_text(json.dumps(citation) + "\n")
    more = summary_of("annotate", "a.jsonl", "b.jsonl", *words)
    assert (more["citations"], more["blocks_written_now"]) == (6, 1)
    output = pubner.open_output("output")
    found = output.citations(columns=["pmid", "pmid_version"]).sort_by("pmid").to_pylist()
    assert [tuple(row.values()) for row in found] == [(1, 1), (2, 2), (3, 1), (4, 1), (5, 1)]
    [dead_letter] = output.dead_letters().to_pylist()
    assert (dead_letter["source"], dead_letter["offset"], dead_letter["payload"]) == (
        "a.jsonl",
        2,
        b"no json",
    )


def test_a_registry_is_used(earlier: Path, capsys: pytest.CaptureFixture[str]) -> None:
    registry = pubner.Registry("registry")
    assert (registry.ids(), registry.active()) == ([ID], ID)
    assert [change.who for change in registry.history()] == ["ann"]
    [document] = registry.load().annotate(["Her asthma was mild."])
    assert [mention.text for mention in document.mentions] == ["asthma"]
    words = ["--output=output", "--registry=registry", "--block-size=20", "--threads=1"]
    assert summary_of("annotate", "a.jsonl", *words)["checkpoint_id"] == ID


def test_the_state_of_a_feed_is_read(earlier: Path) -> None:
    state = load_state(Path("feed-state.json"))
    assert state is not None
    assert (state.cluster_id, state.topic_id, state.inputs) == ("cluster", "topic", "inputs")
    assert dict(state.ends) == {0: 7, 1: 9}
    assert [state.first_unacknowledged(digest) for digest in ("aa", "bb")] == [7, 9]
    assert [state.is_finished(digest) for digest in ("aa", "bb")] == [False, True]


def test_what_was_replayed_is_known(earlier: Path) -> None:
    first, second = Ledger(open_existing("output")).replays()
    assert (first.id, first.finished, second.id, second.finished) == ("r1", False, "r2", True)
    assert (first.target.cluster_id, first.target.topic_id, first.topic) == ("c", "t", "topic")
    assert dict(first.ends) == {0: 5}
    assert Ledger(open_existing("output")).sent(None) == {(SourcePosition("a.jsonl", 0, 2), "d1")}


def test_a_search_goes_on(earlier: Path) -> None:
    words = ["--corpus=ills", "--data=corpora", "--encoder=encoder", "--output=study"]
    more = ["--trials=2", "--epochs=1", "--max-pieces=128", "--threads=1"]
    summary_of("tune", *words, *more)
    storage = f"sqlite:///{earlier}/study/study.db"
    [name] = optuna.study.get_all_study_names(storage)
    trials = optuna.load_study(study_name=name, storage=storage).trials
    assert [trial.state.name for trial in trials] == ["COMPLETE", "COMPLETE"]


def test_training_goes_on_from_its_saved_state(
    earlier: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--corpus=ills", "--data=corpora", "--encoder=encoder", "--output=training"]
    more = ["--max-pieces=128", "--epochs=40", "--threads=1", "--save-seconds=0"]
    assert cli.main(["train", "stl", *words, *more]) == 0
    assert "Resuming at step 1 " in re.sub(r"\s+", " ", capsys.readouterr().out)
    [document] = pubner.load("training", device="cpu").annotate(["Her asthma was mild."])
    assert document.text == "Her asthma was mild."


@pytest.mark.parametrize(("command", "options"), OPTIONS, ids=[command for command, _ in OPTIONS])
def test_every_option_of_before_is_still_there(
    command: str, options: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([*command.split(), "--help"]) == 0
    found = set(re.findall(r"(?<![\w-])--[a-z0-9][a-z0-9-]*", capsys.readouterr().out))
    assert set(options.split()) - found == set()
