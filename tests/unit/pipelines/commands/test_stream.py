"""`pubner stream`: what it refuses before anything runs, and what it tells to resume."""

from pathlib import Path

import pytest

from pipelines.commands.stream import print_summary, summary_of
from pipelines.runners.options import without_savepoint
from pipelines.runtime.stream import StreamReport
from pipelines.runtime.stream_start import Start
from pipelines.settings.stream import StreamSettings
from pubner import cli

WORDS = ("stream", "--brokers=127.0.0.1:9", "--topic=t", "--group=g", "--kafka-timeout-seconds=1")


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["--group", "g", "--topic", "t"], "missing required option --brokers"),
        (["--brokers", "nowhere", "--topic", "t", "--group", "g"], "HOST:PORT"),
        (["--brokers", "a:1", "--topic", "t,t", "--group", "g"], "a topic is given twice"),
        (["--brokers", "a:1", "--topic", "t", "--group", "g", "--flush-seconds", "0"], "'0'"),
        (["--brokers", "a:1", "--topic", "t", "--group", "g", "--isolation", "x"], "'x'"),
        (["--brokers", "a:1", "--topic", "t", "--group", "g"], "--until-caught-up"),
    ],
)
def test_a_wrong_option_is_one_line(
    words: list[str], part: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["stream", *words]) == 2
    error = capsys.readouterr().err
    assert part in error
    assert len(error.splitlines()) == 1


def test_a_broker_that_is_not_there_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([*WORDS, "--until-caught-up", f"--output={tmp_path / 'out'}"]) == 2
    error = capsys.readouterr().err
    assert "127.0.0.1:9" in error
    assert len(error.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_a_broken_checkpoint_is_said_before_the_broker_is_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([*WORDS, "--until-caught-up", f"--checkpoint={tmp_path}"]) == 2
    assert str(tmp_path) in capsys.readouterr().err


def test_the_rows_settings_are_those_of_batch_without_a_format() -> None:
    settings = StreamSettings(brokers=("a:1",), topic=("t",), group="g", store_text=False)
    assert settings.row_settings == "max_text_chars=none;store_text=false"
    assert settings.read_committed


@pytest.mark.parametrize(
    "words",
    [["a", "--", "--savepoint_path=x", "--b"], ["a", "--", "--savepoint_path", "x", "--b"]],
)
def test_the_line_to_resume_by_names_one_savepoint(words: list[str]) -> None:
    assert without_savepoint(words) == ["a", "--", "--b"]


def test_a_run_without_counters_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    settings = StreamSettings(brokers=("a:1",), topic=("t",), group="g")
    stopped = summary_of(settings, StreamReport(1.0, False, "file:/s", {}), "c1", Start("o"))
    assert stopped["records"] is None
    print_summary(settings, stopped)
    assert "not counted" in capsys.readouterr().out
    counters = {"records": 1234, "dead_letters_parse": 2}
    done = summary_of(settings, StreamReport(1.0, True, None, counters), "c1", Start("o"))
    assert (done["records"], done["dead_letters"], done["mentions"]) == (1234, 2, 0)
    print_summary(settings, done)
    assert "1,234" in capsys.readouterr().out
