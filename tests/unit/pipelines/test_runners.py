"""Runners and Beam's options."""

from pathlib import Path

import pytest
from apache_beam.options.pipeline_options import DirectOptions, PrismRunnerOptions
from apache_beam.runners.portability.flink_runner import FlinkRunner
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner

from pipelines.run import make_pipeline
from pipelines.runner_names import find_prism
from pipelines.runners import choose_runner, make_runner
from schemas.errors import SettingsError


@pytest.mark.parametrize("name", ["DirectRunner", "directrunner", "direct", "Direct"])
def test_direct_runner_is_the_one_in_this_process(name: str) -> None:
    choice = choose_runner(name, ["--direct_num_workers=3"])
    assert (choice.name, choice.in_process) == ("DirectRunner", True)
    assert choice.options.view_as(DirectOptions).direct_num_workers == 3
    assert type(make_runner(choice)) is FnApiRunner


def test_a_cluster_s_runner_is_passed_through() -> None:
    choice = choose_runner("flink", ["--flink_master=host:8081", "--parallelism", "2"])
    assert (choice.name, choice.in_process) == ("FlinkRunner", False)
    assert type(make_runner(choice)) is FlinkRunner


def test_the_runner_may_stand_among_beam_s_options() -> None:
    assert choose_runner("DirectRunner", ["--runner=FlinkRunner"]).name == "FlinkRunner"
    assert choose_runner("flink", ["--runner=FlinkRunner"]).name == "FlinkRunner"
    with pytest.raises(SettingsError, match="give one of them"):
        choose_runner("FlinkRunner", ["--runner=DataflowRunner"])


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["--no_such_option=1"], "'--no_such_option=1'"),
        (["input.xml"], "'input.xml'"),
        (["--direct_num_workers=many"], "invalid int value: 'many'"),
        (["--direct_running_mode=odd"], "odd"),
        (["--runner=NoRunner"], "unknown runner 'NoRunner'"),
        (["--job_name"], "expected one argument"),
    ],
)
def test_a_wrong_option_is_one_line(
    arguments: list[str], part: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SettingsError) as caught:
        choose_runner("DirectRunner", arguments)
    assert part in str(caught.value)
    assert "\n" not in str(caught.value)
    assert capsys.readouterr().err == ""


def test_an_unknown_runner_is_refused() -> None:
    with pytest.raises(SettingsError, match="unknown runner 'Dirct'; known are DirectRunner"):
        choose_runner("Dirct", [])


def test_prism_is_found_and_never_downloaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "prism"
    monkeypatch.setenv("PUBNER_PRISM_LOCATION", str(program))
    with pytest.raises(SettingsError, match="which is no file"):
        choose_runner("prism", [])
    program.write_text("")
    options = choose_runner("prism", []).options.view_as(PrismRunnerOptions)
    assert options.prism_location == str(program)
    named = choose_runner("prism", ["--prism_location=/other"]).options
    assert named.view_as(PrismRunnerOptions).prism_location == "/other"


def test_without_prism_the_way_to_build_it_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PUBNER_PRISM_LOCATION", raising=False)
    monkeypatch.setattr(
        "pipelines.runner_names.__file__", str(tmp_path / "pipelines" / "runners.py")
    )
    with pytest.raises(SettingsError, match="deploy/local/prism"):
        find_prism()
    built = tmp_path / ".cache" / "prism" / "v2.77.0" / "prism"
    built.parent.mkdir(parents=True)
    built.write_text("")
    assert find_prism() == built


def test_a_runner_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ImportError(f"{name} is not available")

    monkeypatch.setattr("pipelines.runners.create_runner", missing)
    with pytest.raises(SettingsError, match="FlinkRunner is not available"):
        make_runner(choose_runner("flink", []))


def test_a_pipeline_leaves_no_folder_behind_even_if_it_never_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    pipeline = make_pipeline(choose_runner("DirectRunner", []))
    assert Path(pipeline.local_tempdir).parent == tmp_path
    assert list(tmp_path.iterdir()) == []
