"""The examples of `deploy/retrain`: sound files, and what the script makes of exit statuses."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from training.retrain_settings import RetrainSettings
from worker.options import option_name

EXAMPLES = Path(__file__).parents[3] / "deploy" / "retrain"
OPTIONS = {f"--{option_name(name)}" for name in RetrainSettings.model_fields}


def run_round(folder: Path, code: int) -> subprocess.CompletedProcess[str]:
    """Run the script with a `pubner` that notes its words and ends with `code`."""
    command = folder / "bin" / "pubner"
    command.parent.mkdir(exist_ok=True)
    command.write_text(f'#!/bin/sh\necho "$@" >>{folder}/words\nexit {code}\n')
    command.chmod(0o755)
    return subprocess.run(
        [EXAMPLES / "round"],
        env={
            "PATH": f"{command.parent}:{os.environ['PATH']}",
            "PUBNER_REGISTRY": str(folder / "registry"),
            "ROUNDS": str(folder / "rounds"),
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
