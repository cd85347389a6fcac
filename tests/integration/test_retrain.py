"""`pubner retrain`: whole rounds on small corpora, killed, resumed, refused and gone live."""

import json
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from pubner import cli
from tests.support.commands import start_pubner
from tests.support.corpora import write_corpus, write_encoder
from worker.checkpoint.folder import MANIFEST, read_manifest
from worker.registry.registry import Registry, open_registry


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an encoder and two small corpora of one's own."""
    folder = tmp_path_factory.mktemp("ground")
    write_encoder(folder / "encoder")
    write_corpus(folder / "corpora" / "ills", "Disease", "cancer")
    write_corpus(folder / "corpora" / "drugs", "Chemical", "was")
    return folder


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return open_registry(str(tmp_path / "registry"))


def words(registry: Registry, ground: Path, output: Path, *more: str) -> list[str]:
    return [
        "retrain", "--registry", registry.root, "--output", str(output),
        "--data", str(ground / "corpora"), "--device", "cpu", "--threads", "1",
        "--min-speed", "0", "--who", "tester", *more,
    ]  # fmt: skip


def first(registry: Registry, ground: Path, output: Path, *more: str) -> list[str]:
    """The words of a first round, in which nothing is active yet."""
    return words(
        registry, ground, output, "--corpus", "ills,drugs", "--encoder", str(ground / "encoder"),
        "--set", "max_pieces=128,batch_pieces=128,epochs=3,learning_rate=0.005", *more,
    )  # fmt: skip


def step(output: Path, name: str) -> dict[str, Any]:
    return dict(json.loads((output / "steps" / f"{name}.json").read_text())["result"])


def wait_for(there: Callable[[], bool]) -> None:
    end = time.monotonic() + 120
    while not there():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_rounds_from_nothing_to_a_second_one_that_goes_on_from_the_first(
    registry: Registry, ground: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, two = tmp_path / "1", tmp_path / "2"
    assert cli.main(first(registry, ground, one, "--promote", "--json", "-")) == 0
    printed = json.loads(capsys.readouterr().out)
    made = read_manifest(one / "checkpoint")
    assert (printed["id"], printed["promoted"], printed["verdict"]) == (made.id, True, "passed")
    assert set(printed["evaluation"]["heads"]) == {"ills", "drugs"}
    assert set(made.calibration) == {"ills", "drugs"}
    change = registry.active()
    assert (change.id, change.who, change.why) == (made.id, "tester", "retrained, round 1")
    assert change.report == step(one, "gate")["report"]
    assert registry.verify(made.id) == made

    # All that the first was told comes from the active checkpoint now; it does not go live unasked.
    canary = tmp_path / "recent.jsonl"
    canary.write_text(
        "".join(
            f'{{"pmid": {x}, "title": "cancer was {x}", "abstract": ""}}\n' for x in range(1, 21)
        )
    )
    second = words(
        registry, ground, two, "--seed", "5", "--canary", str(canary), "--max-changed-share", "1"
    )
    assert cli.main(second) == 0
    again = read_manifest(two / "checkpoint")
    assert again.recipe == {**made.recipe, "seed": 5}
    assert again.encoder_source.startswith(f"checkpoint {made.id}, made from ")
    assert again.id in registry.ids()
    assert made.reference is None
    reference = registry.manifest(again.id).reference
    assert reference is not None
    assert (reference.citations, reference.name) == (20, "recent.jsonl")
    assert registry.active().id == made.id
    assert not (two / "steps" / "promote.json").exists()

    # The same round goes live once it is told to, without any step again.
    capsys.readouterr()
    written = {path: path.stat().st_mtime_ns for path in two.rglob("*.json")}
    assert cli.main([*second, "--promote"]) == 0
    assert registry.active().id == again.id
    assert registry.active().previous == made.id
    assert "is active; it replaces" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in written} == written

    # And once more there is nothing to do, even after somebody else has rolled back.
    pointer = registry.pointer()
    registry.move(
        pointer, made.id, action="rollback", who="x", when=pointer.changes[-1].when, why="no"
    )
    assert cli.main([*second, "--promote"]) == 0
    assert "nothing left to do" in capsys.readouterr().out
    assert registry.active().id == made.id


def test_a_round_killed_in_training_and_after_a_step_is_the_same_in_the_end(
    registry: Registry, ground: Path, tmp_path: Path
) -> None:
    output = tmp_path / "round"
    arguments = first(registry, ground, output, "--save-seconds", "0")
    state = output / "checkpoint" / ".training-state" / "latest"
    running = start_pubner(tmp_path / "a", *arguments)
    wait_for(lambda: state.exists() or not running.is_alive)
    running.send(signal.SIGKILL)
    running.finish()
    assert not (output / "checkpoint" / MANIFEST).exists()

    running = start_pubner(tmp_path / "b", *arguments)
    wait_for(lambda: (output / "steps" / "train.json").exists() or not running.is_alive)
    running.send(signal.SIGKILL)
    assert "Resuming at step" in running.finish().out
    trained = (output / "checkpoint" / MANIFEST).stat().st_mtime_ns

    assert cli.main([*arguments, "--promote"]) == 0
    assert (output / "checkpoint" / MANIFEST).stat().st_mtime_ns == trained
    assert registry.active().id == read_manifest(output / "checkpoint").id

    undisturbed = tmp_path / "undisturbed"
    assert cli.main(first(registry, ground, undisturbed)) == 0
    assert read_manifest(undisturbed / "checkpoint").id == registry.active().id


def test_other_settings_in_the_same_folder_are_refused(
    registry: Registry, ground: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "round"
    assert cli.main(first(registry, ground, output)) == 0
    capsys.readouterr()
    assert cli.main(first(registry, ground, output, "--seed", "9")) == 2
    assert "a round with other settings (differing: --seed)" in capsys.readouterr().err
    before = read_manifest(output / "checkpoint").id
    assert cli.main(first(registry, ground, output, "--seed", "9", "--restart")) == 0
    assert read_manifest(output / "checkpoint").id != before
    assert set(registry.ids()) == {before, read_manifest(output / "checkpoint").id}


def test_a_round_that_is_worse_is_published_and_refused(
    registry: Registry, ground: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(first(registry, ground, tmp_path / "1", "--promote")) == 0
    active = registry.active().id
    spoilt = tmp_path / "2"
    # Training from the bare encoder at no rate to speak of: it has learned nothing.
    bare = ("--encoder", str(ground / "encoder"), "--set", "learning_rate=1e-9", "--promote")
    written = tmp_path / "2.json"
    capsys.readouterr()
    assert cli.main([*words(registry, ground, spoilt, *bare), "--json", str(written)]) == 3
    error = capsys.readouterr().err
    made = read_manifest(spoilt / "checkpoint").id
    assert error.startswith(f"pubner: checkpoint {made} is refused: ")
    assert "strict F1 falls by" in error
    assert made in registry.ids()
    assert registry.active().id == active
    assert step(spoilt, "gate")["verdict"] == "refused"
    result = json.loads(written.read_text())
    assert (result["id"], result["verdict"], result["promoted"]) == (made, "refused", False)
    assert result["report"] == step(spoilt, "gate")["report"]
    # Asked again, the gate judges again.
    assert cli.main(words(registry, ground, spoilt, *bare, "--max-f1-drop", "100")) == 0
    assert registry.active().id == made


def test_a_broken_corpus_stops_the_round_with_its_line_and_goes_on_once_mended(
    registry: Registry, ground: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    corpora = tmp_path / "corpora"
    write_corpus(corpora / "ills", "Disease", "cancer")
    file = corpora / "ills" / "devel.tsv"
    sound = file.read_text()
    file.write_text(sound.replace("cancer\tS-Disease", "cancer\tE-Disease", 1))
    round_words = words(
        registry, ground, tmp_path / "round", "--data", str(corpora), "--corpus", "ills",
        "--encoder", str(ground / "encoder"), "--set", "max_pieces=128,batch_pieces=128,epochs=1",
    )  # fmt: skip
    assert cli.main(round_words) == 2
    error = capsys.readouterr().err
    assert f"{file}, line 2: illegal transition" in error
    assert error.count("\n") == 1
    file.write_text(sound)
    assert cli.main(round_words) == 0
    # What changes behind a round's back is told.
    (corpora / "ills" / "train.tsv").write_text(sound + "more\tO\n\n")
    capsys.readouterr()
    assert cli.main(round_words) == 2
    assert "the corpora ills changed since the round" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ((), "has no active checkpoint whose corpora could be trained on again"),
        (("--corpus", "ills", "--teacher", "active"), "which --encoder or --teacher names"),
        (("--corpus", "nothing"), "no corpus 'nothing'"),
        (("--corpus", "ills", "--split", "test"), "must not use test splits"),
        (("--corpus", "ills", "--canary", "missing.xml"), "names no file"),
        (("--corpus", "ills", "--recipe", "none"), "no recipe 'none'"),
    ],
)
def test_wrong_options_are_one_line_before_anything_is_trained(
    registry: Registry,
    ground: Path,
    tmp_path: Path,
    more: tuple[str, ...],
    said: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cli.main(words(registry, ground, tmp_path / "round", *more)) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not (tmp_path / "round" / "checkpoint").exists()


def test_a_folder_that_holds_something_else_is_left_alone(
    registry: Registry, ground: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "round").mkdir()
    (tmp_path / "round" / "thesis.txt").write_text("mine")
    assert cli.main(first(registry, ground, tmp_path / "round", "--restart")) == 2
    assert "holds 'thesis.txt', and no round" in capsys.readouterr().err
    assert (tmp_path / "round" / "thesis.txt").read_text() == "mine"


def test_heads_that_would_be_lost_are_refused_before_training(
    registry: Registry, ground: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(first(registry, ground, tmp_path / "1", "--promote")) == 0
    capsys.readouterr()
    assert cli.main(words(registry, ground, tmp_path / "2", "--corpus", "ills")) == 2
    assert "the active checkpoint has the heads drugs" in capsys.readouterr().err
    less = ("--corpus", "ills", "--allow-lost-heads", "--promote")
    assert cli.main(words(registry, ground, tmp_path / "2", *less)) == 0
    assert [task.name for task in registry.manifest(registry.active().id).tasks] == ["ills"]
