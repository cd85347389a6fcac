"""Runners and Beam's options."""

from pathlib import Path

import pytest
from apache_beam.options.pipeline_options import DirectOptions, PrismRunnerOptions
from apache_beam.runners.portability.flink_runner import FlinkRunner
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner

from pipelines.runners.names import find_prism
from pipelines.runners.options import choose_runner, make_runner
from pipelines.runtime.batch import make_pipeline
from schemas.errors import SettingsError


@pytest.mark.parametrize("name", ["DirectRunner", "directrunner", "direct", "Direct"])
def test_direct_runner_is_the_one_in_this_process(name: str) -> None:
    choice = choose_runner(name, ["--direct_num_workers=3"])
    assert (choice.name, choice.in_process) == ("DirectRunner", True)
    assert choice.options.view_as(DirectOptions).direct_num_workers == 3
    assert isinstance(make_runner(choice), FnApiRunner)


def test_a_cluster_s_runner_is_passed_through() -> None:
    choice = choose_runner("flink", ["--flink_master=host:8081", "--parallelism", "2"])
    assert (choice.name, choice.in_process) == ("FlinkRunner", False)
    assert isinstance(make_runner(choice), FlinkRunner)


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
    with pytest.raises(SettingsError, match="which is not a file"):
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
    module = tmp_path / "pipelines" / "runners" / "names.py"
    monkeypatch.setattr("pipelines.runners.names.__file__", str(module))
    with pytest.raises(SettingsError, match="deploy/local/prism"):
        find_prism()
    built = tmp_path / ".cache" / "prism" / "v2.77.0" / "prism"
    built.parent.mkdir(parents=True)
    built.write_text("")
    assert find_prism() == built
    loopback = built.parent.with_name("v2.77.0-loopback") / "prism"
    loopback.parent.mkdir()
    loopback.write_text("")
    later = built.parent.with_name("v2.78.0") / "prism"
    later.parent.mkdir()
    later.write_text("")
    assert find_prism() == loopback, "the one that listens on loopback alone"


def test_what_may_listen_on_all_interfaces_is_warned_of() -> None:
    ours = choose_runner("prism", ["--prism_location=/c/v2.77.0-loopback/prism"])
    assert ours.exposure is None
    own = choose_runner("prism", ["--prism_location=/usr/bin/prism"]).exposure or ""
    assert "/usr/bin/prism" in own
    assert "all interfaces" in own
    assert "\n" not in own
    server = choose_runner("flink", ["--flink_master=host:8081"]).exposure or ""
    assert "its own job server for FlinkRunner" in server
    assert choose_runner("flink", ["--job_endpoint=host:8099"]).exposure is None
    assert choose_runner("direct", []).exposure is None


@pytest.mark.parametrize(
    ("runner", "beam", "part"),
    [
        ("dataflow", [], "other machines"),
        ("flink", ["--flink_master=host:8081"], "containers"),
        ("flink", ["--environment_type=DOCKER"], "containers"),
        ("prism", ["--prism_location=p", "--environment_type=docker"], "containers"),
        ("portable", ["--job_endpoint=host:8099"], "containers"),
        ("spark", ["--spark_master_url=spark://host"], "containers"),
    ],
)
def test_a_place_that_no_worker_sees_is_refused_in_one_line(
    runner: str, beam: list[str], part: str
) -> None:
    choice = choose_runner(runner, beam)
    for place in ("out", "/out", "~/out", "file:///out"):
        with pytest.raises(SettingsError) as caught:
            choice.check_paths({"--output": place})
        assert f"--output {place!r}" in str(caught.value)
        assert part in str(caught.value)
        assert "\n" not in str(caught.value)
    choice.check_paths({"--output": "s3://bucket/out", "--registry": None})


@pytest.mark.parametrize(
    ("runner", "beam"),
    [
        ("direct", []),
        ("prism", ["--prism_location=p"]),
        ("flink", []),
        ("flink", ["--flink_master=[local]"]),
        ("flink", ["--flink_master=host:8081", "--environment_type=EXTERNAL"]),
        ("portable", ["--job_endpoint=host:8099", "--environment_type=PROCESS"]),
        ("spark", []),
    ],
)
def test_a_place_that_workers_of_this_machine_see_is_not(runner: str, beam: list[str]) -> None:
    choose_runner(runner, beam).check_paths({"--output": "out", "INPUT": "/in.xml"})


def test_a_runner_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ImportError(f"{name} is not available")

    monkeypatch.setattr("pipelines.runners.options.create_runner", missing)
    with pytest.raises(SettingsError, match="FlinkRunner is not available"):
        make_runner(choose_runner("flink", []))


def test_a_pipeline_leaves_no_folder_behind_even_if_it_never_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    pipeline = make_pipeline(choose_runner("DirectRunner", []))
    assert Path(pipeline.local_tempdir).parent == tmp_path
    assert list(tmp_path.iterdir()) == []
