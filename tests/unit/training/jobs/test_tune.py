"""`pubner tune`: real searches over tiny encoders and corpora."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from itertools import chain, repeat
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import torch
from safetensors.torch import load_file, save_file

from pubner.cli import main
from tests.support.corpora import write_corpus, write_encoder
from training.finetune.run import load_training_corpora
from training.recipes.recipe import RECIPES, Recipe
from training.tuning.search import Search, open_study, run_search
from training.tuning.space import choose_space

pytestmark = pytest.mark.usefixtures("one_thread")

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an encoder and two small corpora, which have no test split."""
    folder = tmp_path_factory.mktemp("ground")
    write_encoder(folder / "encoder")
    for name, label, word in (
        ("NCBI-disease-IOBES", "Disease", "cancer"),
        ("BC2GM-IOBES", "GENE", "protein"),
    ):
        write_corpus(folder / "corpora" / name, label, word)
        (folder / "corpora" / name / "test.tsv").unlink()
    return folder


def words(ground: Path, output: Path, *more: str, corpus: str = "ncbi-disease") -> list[str]:
    return [
        "tune", "--data", str(ground / "corpora"), "--encoder", str(ground / "encoder"),
        "--output", str(output), "--corpus", corpus, "--threads", "1", "--device", "cpu",
        "--max-pieces", "128", *more,
    ]  # fmt: skip


def search(ground: Path, output: Path, recipe: Recipe, *tune: str, **changes: Any) -> Search:
    settings: dict[str, Any] = {
        "recipe": recipe,
        "space": choose_space(tune, recipe, corpora=1),
        "corpora": load_training_corpora(ground / "corpora", ["ncbi-disease"]),
        "encoder": str(ground / "encoder"),
        "output": output,
        "trials": 3,
        "startup_trials": 1,
        "pruner": "none",
        "device": torch.device("cpu"),
        "bf16": False,
    }
    return Search(**(settings | changes))


def summary(path: Path) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return values


QUICK = ("--tune", "learning-rate=1e-3:2e-2,dropout", "--epochs", "1", "--startup-trials", "2")


def test_a_search_runs_goes_on_and_leaves_the_best_recipe_and_plots(
    ground: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output, report = tmp_path / "study", tmp_path / "report.json"
    arguments = words(
        ground, output, *QUICK, "--json", str(report), corpus="ncbi-disease,bc2gm"
    )  # fmt: skip
    assert main([*arguments, "--trials", "3"]) == 0
    printed = capsys.readouterr()
    assert "No importance.svg yet: it takes 5 trials trained to their ends, and there are 3." in (
        " ".join(printed.out.split())
    )
    assert printed.err == "", "Optuna says nothing"
    first = summary(report)["trials"]
    assert [trial["outcome"] for trial in first] == ["complete"] * 3
    assert sorted(path.name for path in output.iterdir()) == [
        ".study.db.lock", ".trials", "best.json", "history.svg", "study.db",
    ]  # fmt: skip
    assert not list((output / ".trials").iterdir()), "no states are left"

    assert main([*arguments, "--trials", "5"]) == 0
    assert "3 are there already" in capsys.readouterr().out
    trials = summary(report)["trials"]
    assert trials[:3] == first
    assert len(trials) == 5
    for trial in trials:
        assert set(trial["values"]) == {"learning_rate", "dropout"}
        assert 1e-3 <= trial["values"]["learning_rate"] <= 2e-2
        heads = trial["strict_f1"]
        assert set(heads) == {"ncbi-disease", "bc2gm"}
        assert trial["mean_strict_f1"] == pytest.approx(sum(heads.values()) / 2)

    best = summary(output / "best.json")
    top = max(trials, key=lambda trial: trial["mean_strict_f1"])
    assert best["trial"] == top["trial"] == summary(report)["best"]
    assert best["devel"]["mean_strict_f1"] == top["mean_strict_f1"]
    assert best["trials"] == 5
    recipe = Recipe(**best["recipe"])
    assert recipe.name == "compact-tuned"
    assert (recipe.learning_rate, recipe.dropout) == (
        top["values"]["learning_rate"], top["values"]["dropout"],
    )  # fmt: skip
    assert recipe.head_rate_factor == RECIPES["compact"].head_rate_factor

    plots = {name: (output / name).read_bytes() for name in ("history.svg", "importance.svg")}
    for content in plots.values():
        root = ElementTree.fromstring(content)
        assert root.tag == f"{SVG}svg"
        assert b"<dc:date>" not in content
    texts = [
        "".join(t.itertext())
        for t in ElementTree.fromstring(plots["importance.svg"]).iter(f"{SVG}text")
    ]
    assert {"learning rate", "dropout"} <= set(texts)
    assert main([*arguments, "--trials", "5"]) == 0
    assert {name: (output / name).read_bytes() for name in plots} == plots
    assert summary(report)["trials"] == trials

    assert main([*arguments, "--trials", "5", "--seed", "7"]) == 2
    error = capsys.readouterr().err
    assert "holds a search with other settings (differing: recipe)" in error
    assert len(error.strip().splitlines()) == 1


def test_the_best_recipe_trains_to_the_score_that_the_search_saw(
    ground: Path, tmp_path: Path
) -> None:
    output = tmp_path / "study"
    assert main(words(ground, output, *QUICK, "--trials", "2")) == 0
    report = tmp_path / "train.json"
    train = [
        "train", "stl", "--corpus", "ncbi-disease", "--data", str(ground / "corpora"),
        "--encoder", str(ground / "encoder"), "--recipe", str(output / "best.json"),
        "--output", str(tmp_path / "checkpoint"), "--threads", "1", "--device", "cpu",
        "--json", str(report),
    ]  # fmt: skip
    assert main(train) == 0
    assert summary(report)["devel"] == summary(output / "best.json")["devel"]["strict_f1"]


def test_no_test_split_is_opened(ground: Path, tmp_path: Path) -> None:
    corpora = tmp_path / "corpora"
    write_corpus(corpora / "NCBI-disease-IOBES", "Disease", "cancer")
    assert (corpora / "NCBI-disease-IOBES" / "test.tsv").is_file()
    opened: list[str] = []
    listening = True

    def note(event: str, arguments: tuple[Any, ...]) -> None:
        if listening and event == "open":
            opened.append(Path(str(arguments[0])).name)

    # A hook cannot be taken off again, only be made to do nothing.
    sys.addaudithook(note)
    try:
        arguments = words(ground, tmp_path / "study", *QUICK, "--trials", "1")
        arguments[arguments.index("--data") + 1] = str(corpora)
        assert main(arguments) == 0
    finally:
        listening = False
    assert {"train.tsv", "devel.tsv"} <= set(opened)
    assert "test.tsv" not in opened


def test_two_processes_share_a_study_and_killed_trials_are_run_again(
    ground: Path, tmp_path: Path
) -> None:
    output = tmp_path / "study"
    narrow = ("--tune", "learning-rate=1e-3:2e-2", "--startup-trials", "2", "--trials", "3")
    arguments = words(ground, output, *narrow, "--epochs", "400")
    workers = [
        subprocess.Popen(
            [
                sys.executable,
                "-c",
                "import sys; from pubner import cli; sys.exit(cli.main())",
                *arguments,
            ],
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for _ in range(2)
    ]
    states = output / ".trials"
    end = time.monotonic() + 120
    while len(list(states.glob("*/latest"))) < 2 and time.monotonic() < end:
        time.sleep(0.05)
    workers[0].send_signal(signal.SIGTERM)
    workers[1].send_signal(signal.SIGKILL)
    printed = [worker.communicate(timeout=120)[0] for worker in workers]
    assert [worker.returncode for worker in workers] == [128 + signal.SIGTERM, -signal.SIGKILL]
    assert "its values are queued again" in printed[0]
    assert "the same command resumes from here" in printed[0]
    begun = {re.findall(r"^Trial \d+:(.*)$", text, re.MULTILINE)[0] for text in printed}
    assert len(begun) == 2, "each had a trial of its own"

    # The search goes on in this process, and is stopped behind a trial's first step.
    base = Recipe(**{**RECIPES["compact"].values(), "max_pieces": 128, "epochs": 400})
    plan = search(
        ground, output, base, "learning-rate=1e-3:2e-2", startup_trials=2, pruner="median"
    )
    study = open_study(plan)
    said: list[str] = []
    for _ in range(2):
        assert not run_search(
            plan, study, log=said.append,
            should_stop=chain((False,), repeat(True)).__next__,
        )  # fmt: skip
    again = {line.split(":", 1)[1] for line in said if "learning-rate" in line}
    assert again == begun
    assert {trial.state.name for trial in study.trials()} == {"FAIL"}
    assert not list(states.iterdir())


def test_a_weak_trial_is_ended_early(ground: Path, tmp_path: Path) -> None:
    base = Recipe(
        "base", epochs=4, learning_rate=5e-3, batch_windows=4, max_pieces=128, letter_case=True
    )
    plan = search(
        ground, tmp_path, base, "learning-rate=1e-9:5e-3", trials=4, pruner="median",
    )  # fmt: skip
    study = open_study(plan)
    assert run_search(plan, study)
    found = study.trials()
    assert found[0].state.name == "COMPLETE"
    ended = [trial for trial in found if trial.state.name == "PRUNED"]
    assert ended
    assert [list(trial.intermediate_values) for trial in ended] == [[1, 2]] * len(ended)
    best = found[0].value
    assert best is not None
    assert all(trial.value < best for trial in ended if trial.value is not None)


def test_a_trial_that_diverges_counts_as_failed_and_the_search_goes_on(
    ground: Path, tmp_path: Path
) -> None:
    # Weight decay times the learning rate multiplies the weights: by -999 a step, or by 0.999.
    base = Recipe(
        "base", epochs=3, learning_rate=1e-6, batch_windows=2, max_pieces=128, weight_decay=1000.0
    )
    plan = search(ground, tmp_path, base, "learning-rate=1e-6:0.999", trials=4)
    study, said = open_study(plan), list[str]()
    assert run_search(plan, study, log=said.append)
    found = [trial.state.name for trial in study.trials()]
    assert len(found) == 4
    assert found[0] == "COMPLETE"
    assert "FAIL" in found
    assert any("failed, diverged" in line for line in said)
    assert not list((tmp_path / ".trials").iterdir())


def test_where_every_trial_diverges_the_command_says_what_to_change(
    ground: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "encoder"
    write_encoder(broken)
    weights = load_file(broken / "model.safetensors")
    name = next(name for name in weights if name.endswith("embeddings.LayerNorm.weight"))
    weights[name].fill_(3e38)  # finite, but nothing that is computed from it is
    save_file(weights, broken / "model.safetensors", metadata={"format": "pt"})
    arguments = words(ground, tmp_path / "study", *QUICK, "--trials", "2")
    arguments[arguments.index("--encoder") + 1] = str(broken)
    assert main(arguments) == 2
    printed = capsys.readouterr()
    assert printed.out.count("failed, diverged") == 2
    assert "none of 2 trials was trained to its end; lower the bounds" in printed.err
    assert len(printed.err.strip().splitlines()) == 1
    assert not (tmp_path / "study" / "best.json").exists()


def test_training_that_cannot_begin_ends_the_search(
    ground: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = words(ground, tmp_path / "study", *QUICK)
    arguments[arguments.index("--encoder") + 1] = str(tmp_path / "nowhere")
    assert main(arguments) == 2
    assert "no encoder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--tune", "momentum"], "--tune 'momentum': expected one of learning-rate"),
        (["--tune", "epochs", "--epochs", "2"], "--epochs gives it one value already"),
        (["--pruner", "axe"], "no pruner 'axe': expected one of median, hyperband, none"),
        (["--trials", "0"], "option --trials '0'"),
        (["--startup-trials", "0"], "option --startup-trials '0'"),
        (["--recipe", "best"], "'best'"),
        (["--corpus", "bc2gm,bc2gm"], "names a corpus twice"),
        (["--corpus", "jnlpba"], "corpus 'jnlpba' is not there"),
    ],
)
def test_a_wrong_option_is_one_clear_line(
    ground: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str], says: str
) -> None:
    arguments = words(ground, tmp_path / "study", *more)
    if "--corpus" in more:
        place = arguments.index("--corpus")
        del arguments[place : place + 2]
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert says in error
    assert len(error.strip().splitlines()) == 1


def test_no_corpus_or_an_output_that_is_a_file_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["tune", "--output", str(tmp_path / "study")]) == 2
    assert "--corpus is missing" in capsys.readouterr().err
    (tmp_path / "file").write_text("")
    assert main(["tune", "--corpus", "bc2gm", "--output", str(tmp_path / "file")]) == 2
    assert "is a file; name a folder" in capsys.readouterr().err
