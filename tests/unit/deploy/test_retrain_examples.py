"""The examples of `deploy/retrain`: sound files, and what the script makes of exit statuses."""

import ast
import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support.root import ROOT
from training.settings.retrain import RetrainSettings
from worker.cli.options import option_name

EXAMPLES = ROOT / "deploy" / "retrain"
OPTIONS = {f"--{option_name(name)}" for name in RetrainSettings.model_fields}


def run_round(folder: Path, code: int, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the script with a `pubner` that notes its words and ends with `code`."""
    command = folder / "bin" / "pubner"
    command.parent.mkdir(exist_ok=True)
    command.write_text(
        f'#!/bin/sh\necho "$@" >>{folder}/words\n'
        f'echo "${{PUBNER_CANARY:-}}" >>{folder}/canaries\nexit {code}\n'
    )
    command.chmod(0o755)
    return subprocess.run(
        [EXAMPLES / "round"],
        env={
            "PATH": f"{command.parent}:{os.environ['PATH']}",
            "PUBNER_REGISTRY": str(folder / "registry"),
            "ROUNDS": str(folder / "rounds"),
            **variables,
        },
        capture_output=True,
        text=True,
        check=False,
    )


def calls(folder: Path) -> list[str]:
    return (folder / "words").read_text().splitlines()


def test_the_script_names_the_round_by_the_month_and_knows_the_options(tmp_path: Path) -> None:
    assert run_round(tmp_path, 0).returncode == 0
    (call,) = calls(tmp_path)
    assert call.startswith("retrain --output ")
    assert re.search(r"/rounds/\d{4}-\d\d --promote", call)
    assert set(re.findall(r"--[a-z-]+", call)) <= OPTIONS


@pytest.mark.parametrize("code", [1, 2, 143])
def test_what_failed_is_tried_again(tmp_path: Path, code: int) -> None:
    assert run_round(tmp_path, code).returncode == code
    assert run_round(tmp_path, 0).returncode == 0
    assert len(calls(tmp_path)) == 2


def test_what_the_gate_refused_is_left_alone_until_the_mark_is_removed(tmp_path: Path) -> None:
    first = run_round(tmp_path, 3)
    assert first.returncode == 3
    assert "--force REASON" in first.stderr
    assert run_round(tmp_path, 0).returncode == 0
    assert len(calls(tmp_path)) == 1
    (mark,) = (tmp_path / "rounds").glob("*.refused")
    mark.unlink()
    assert run_round(tmp_path, 0).returncode == 0
    assert len(calls(tmp_path)) == 2


def begin_earlier(folder: Path, month: str = "2020-03", verdict: str | None = None) -> Path:
    """Make an earlier month's round that was begun, with a verdict or without."""
    rounds = folder / "rounds"
    (rounds / month).mkdir(parents=True)
    (rounds / month / "round.json").write_text("{}")
    if verdict is not None:
        (rounds / f"{month}.json").write_text(verdict)
    return rounds


def months(folder: Path) -> list[str]:
    return [re.findall(r"--output \S*/(\S+)", call)[0] for call in calls(folder)]


def test_a_round_that_its_month_did_not_end_is_ended_first(tmp_path: Path) -> None:
    begin_earlier(tmp_path)
    begin_earlier(tmp_path, "2020-02")
    failed = run_round(tmp_path, 2)
    assert failed.returncode == 2
    assert "to give that one up: touch " in failed.stderr
    assert months(tmp_path) == ["2020-03"]
    assert run_round(tmp_path, 0).returncode == 0
    assert months(tmp_path)[1] == "2020-03"
    assert months(tmp_path)[2] > "2020-03"
    assert calls(tmp_path)[1].count("2020-03") == 3, "output, reason and JSON"


def test_an_earlier_round_that_the_gate_refuses_is_marked_and_no_longer_in_the_way(
    tmp_path: Path,
) -> None:
    rounds = begin_earlier(tmp_path)
    assert run_round(tmp_path, 3).returncode == 3
    assert [mark.name for mark in rounds.glob("*.refused")] == ["2020-03.refused"]
    assert run_round(tmp_path, 0).returncode == 0
    assert months(tmp_path)[0] == "2020-03"
    assert len(months(tmp_path)) == 2


@pytest.mark.parametrize(
    "result",
    [
        {"verdict": "passed", "promoted": True},
        {"verdict": "passed", "promoted": False},
        {"verdict": None, "promoted": False},
    ],
)
def test_a_round_that_has_its_verdict_is_finished(tmp_path: Path, result: dict[str, Any]) -> None:
    rounds = begin_earlier(tmp_path, verdict=json.dumps(result, indent=2))
    assert run_round(tmp_path, 0).returncode == 0
    (month,) = months(tmp_path)
    assert month > "2020-03"
    (rounds / f"{month}.json").write_text(json.dumps(result, indent=2))
    assert run_round(tmp_path, 0).returncode == 0
    assert len(calls(tmp_path)) == 1


def test_a_folder_in_which_no_round_was_begun_is_no_round(tmp_path: Path) -> None:
    (tmp_path / "rounds" / "2020-03").mkdir(parents=True)
    assert run_round(tmp_path, 0).returncode == 0
    assert len(calls(tmp_path)) == 1


def test_once_a_month_is_begun_an_earlier_one_is_left_alone(tmp_path: Path) -> None:
    assert run_round(tmp_path, 1).returncode == 1
    (month,) = months(tmp_path)
    (tmp_path / "rounds" / month / "round.json").write_text("{}")
    begin_earlier(tmp_path)
    assert run_round(tmp_path, 0).returncode == 0
    assert months(tmp_path) == [month, month]


def test_the_airflow_example_compiles_and_knows_the_options() -> None:
    path = EXAMPLES / "airflow_dag.py"
    text = path.read_text("utf-8")
    compile(text, str(path), "exec")
    found = set(re.findall(r'"(--[a-z-]+)"', text))
    assert found
    assert found <= OPTIONS


def test_the_crontab_has_one_line_that_runs_the_script() -> None:
    lines = (EXAMPLES / "crontab").read_text("utf-8").splitlines()
    jobs = [line for line in lines if line and line[0] in "0123456789*"]
    assert len(jobs) == 1
    assert jobs[0].split()[-1].endswith("deploy/retrain/round")
    variables = [line.partition("=")[0] for line in lines if re.match(r"[A-Z_]+=", line)]
    ours = {name.removeprefix("PUBNER_").lower() for name in variables if "PUBNER_" in name}
    assert ours <= {*RetrainSettings.model_fields, "corpora"}
    script = (EXAMPLES / "round").read_text("utf-8")
    assert all(f"{name}" in script for name in variables if name in ("PUBMED", "ROUNDS"))


NLM = [
    "baseline/pubmed27n0001.xml.gz", "baseline/pubmed27n1334.xml.gz",
    "baseline/pubmed27n1333.xml.gz", "updatefiles/pubmed26n1502.xml.gz",
    "updatefiles/pubmed26n1503.xml.gz", "updatefiles/pubmed27n1336.xml.gz",
    "updatefiles/pubmed27n1335.xml.gz", "updatefiles/pubmed27n1335.xml.gz.md5",
    "updatefiles/pubmed27n1335_stats.html",
]  # fmt: skip
NEWEST = [
    "baseline/pubmed27n0001.xml.gz", "baseline/pubmed27n1333.xml.gz",
    "baseline/pubmed27n1334.xml.gz", "updatefiles/pubmed27n1335.xml.gz",
    "updatefiles/pubmed27n1336.xml.gz",
]  # fmt: skip


@pytest.fixture
def pubmed(tmp_path: Path) -> Path:
    """A mirror of NLM's files in the weeks after a new baseline."""
    for name in NLM:
        (tmp_path / "pubmed" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "pubmed" / name).write_bytes(b"")
    return tmp_path / "pubmed"


def test_the_canary_is_the_newest_files_whatever_the_year(tmp_path: Path, pubmed: Path) -> None:
    assert run_round(tmp_path, 1, PUBMED=str(pubmed)).returncode == 1
    assert run_round(tmp_path, 1, PUBMED=str(pubmed), PUBNER_CANARY="own.xml").returncode == 1
    assert (tmp_path / "canaries").read_text().splitlines() == [
        ",".join(str(pubmed / name) for name in NEWEST),
        "own.xml",
    ]


def test_a_canary_without_files_is_said_and_nothing_is_begun(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    done = run_round(tmp_path, 0, PUBMED=str(tmp_path / "empty"))
    assert done.returncode == 2
    assert "no pubmed*.xml.gz lies under PUBMED=" in done.stderr
    assert not (tmp_path / "words").exists()


def test_airflow_takes_the_same_canary_and_sets_the_corpora(pubmed: Path) -> None:
    tree = ast.parse((EXAMPLES / "airflow_dag.py").read_text("utf-8"))
    wanted = [part for part in tree.body if getattr(part, "name", "") == "newest_files"]
    names: dict[str, Any] = {"Path": Path}
    exec(compile(ast.Module(wanted, []), "airflow_dag.py", "exec"), names)  # Airflow is not here
    assert names["newest_files"](pubmed, 5) == [str(pubmed / name) for name in NEWEST]
    text = (EXAMPLES / "airflow_dag.py").read_text("utf-8")
    assert '"--data", CORPORA' in text
