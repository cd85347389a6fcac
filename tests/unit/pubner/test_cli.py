"""The command table and what every command has in common."""

import os
import subprocess
import sys
from collections.abc import Sequence
from types import ModuleType

import pytest

from pubner import cli
from schemas.errors import OutputError
from tests.support.root import ROOT


def add_command(
    monkeypatch: pytest.MonkeyPatch, run: object, words: tuple[str, ...] = ("probe",)
) -> None:
    """Put a command into the table that `run` answers."""
    module = ModuleType("probe_module")
    module.run = run  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "probe_module", module)
    command = cli.Command(" ".join(words), "probe_module:run", "a probe")
    monkeypatch.setattr(cli, "COMMANDS", (*cli.COMMANDS, command))


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--help"]) == 0
    text = capsys.readouterr().out
    for command in cli.COMMANDS:
        assert " ".join(command.words) in text


def test_help_of_a_family(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["train", "--help"], ["train", "-h"], ["help", "train"]):
        assert cli.main(words) == 0
        text = capsys.readouterr().out
        assert text.startswith("usage: pubner train COMMAND [OPTION...]\n")
        assert "train stl" in text
        assert "annotate" not in text
    assert cli.main(["help", "train", "stl"]) == 0
    assert capsys.readouterr().out.startswith("usage: pubner train stl [OPTION...]\n")


def test_without_a_command_help_is_shown_as_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == 2
    assert "usage: pubner" in capsys.readouterr().out


def test_version_is_that_of_the_package(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.metadata.version", lambda name: f"1.2.3 of {name}")
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == "pubner 1.2.3 of pubner\n"


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["anotate"], "unknown command 'anotate'"),
        (["anotate"], "did you mean 'annotate'?"),
        (["train", "mlt"], "did you mean 'mtl'? 'train' has stl, mtl"),
        (["help", "trian"], "unknown command 'trian'; did you mean 'train'?"),
        (["train"], "needs one of stl, mtl"),
        (["train", "xtl"], "unknown command 'train xtl'"),
        (["--verbose"], "unknown command '--verbose'"),
    ],
)
def test_an_unknown_command_is_one_line(
    words: list[str], part: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(words) == 2
    found = capsys.readouterr()
    assert part in found.err
    assert found.err.count("\n") == 1
    assert found.out == ""


def test_a_command_gets_the_words_behind_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Sequence[str]] = []

    def run(words: Sequence[str]) -> int:
        seen.append(words)
        return 7

    add_command(monkeypatch, run, ("probe", "twice"))
    assert cli.main(["probe", "twice", "a", "--b"]) == 7
    assert seen == [["a", "--b"]]


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (OutputError("no\n  room"), 2, "pubner: no room\n"),
        (KeyboardInterrupt(), 130, "pubner: interrupted\n"),
        (SystemExit(0), 0, ""),
        (SystemExit(3), 3, ""),
    ],
)
def test_how_a_command_ends(
    error: BaseException,
    code: int,
    line: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def run(words: Sequence[str]) -> int:
        raise error

    add_command(monkeypatch, run)
    assert cli.main(["probe"]) == code
    assert capsys.readouterr().err == line


class Panic(BaseException):
    """What a library in another language raises: no Exception."""


@pytest.mark.parametrize("error", [ZeroDivisionError("by\n0"), Panic("by\n0"), OSError("by\n0")])
def test_an_error_that_is_not_expected_is_one_line_and_status_1(
    error: BaseException, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(words: Sequence[str]) -> int:
        raise error

    add_command(monkeypatch, run)
    assert cli.main(["probe", "--", "--verbose"]) == 1
    found = capsys.readouterr().err
    line = f"pubner: {type(error).__name__}: by 0"
    assert found == f"{line} (this was not expected; --verbose shows the traceback)\n"
    assert cli.main(["probe", "--verbose"]) == 1
    found = capsys.readouterr().err
    assert found.startswith("Traceback (most recent call last):\n")
    assert found.endswith(f"\n{line}\n")
    monkeypatch.setenv("PUBNER_VERBOSE", "1")
    assert cli.main(["probe"]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_a_file_that_the_system_refuses_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(words: Sequence[str]) -> int:
        raise PermissionError(13, "Permission denied", "/a/b\x1b[31m")

    add_command(monkeypatch, run)
    assert cli.main(["probe"]) == 2
    assert capsys.readouterr().err == "pubner: '/a/b\\x1b[31m': Permission denied\n"


@pytest.mark.parametrize("kind", [OutputError, ValueError])
@pytest.mark.parametrize("words", [["probe"], ["probe", "--verbose"]])
def test_no_control_character_of_a_message_reaches_the_terminal(
    words: list[str],
    kind: type[Exception],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def run(words: Sequence[str]) -> int:
        raise kind("\x1b[31mred\x9b2J\r\x07\u202eturned \udc80 " + "x" * 5000)

    add_command(monkeypatch, run)
    cli.main(words)
    found = capsys.readouterr().err
    line = found.splitlines()[-1]
    assert "\\x1b[31mred\\x9b2J" in line
    assert "\\u202eturned \\udc80 xxx" in line
    assert "[5,000 characters]" in line
    assert len(line) < 500
    assert not {x for x in found if x != "\n" and (x < " " or "\x7f" <= x <= "\x9f")}
    assert "\u202e" not in found


def run_python(code: str, *, stdout: int = subprocess.PIPE) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        timeout=120,
        check=False,
    )


def test_help_imports_nothing_heavy() -> None:
    heavy = ["torch", "transformers", "apache_beam", "pyarrow", "pydantic", "rich", "numpy"]
    done = run_python(
        "import sys; from pubner import cli; code = cli.main(['--help']); "
        f"sys.exit(code or sorted(set({heavy!r}) & set(sys.modules)) or None)"
    )
    assert done.returncode == 0, done.stderr
    assert "usage: pubner" in done.stdout


def test_a_reader_that_goes_away_is_no_error() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = run_python(
            "import sys; from pubner import cli; sys.exit(cli.main(['--help']))", stdout=writer
        )
    finally:
        os.close(writer)
    assert done.stderr == ""
    assert done.returncode == 141


@pytest.mark.parametrize(
    "words",
    [
        ["annotate", "--output=s3://AKIA:hunter2@bucket/out"],
        ["annotate", "s3://AKIA:hunter2@bucket/in/*.xml"],
        ["annotate", "--checkpoint=s3://AKIA:hunter2@bucket/in"],
        ["annotate", "--registry=https://hunter2@host/registry"],
        ["annotate", "--json=s3://AKIA:hunter2@bucket/s.json", "--no-such-option"],
        ["annotate", "--block-size=s3://AKIA:hunter2@bucket"],
        ["annotate", "--runner=flink", "--", "--flink_master=http://u:hunter2@h", "--nonesuch"],
        ["reannotate", "s3://AKIA:hunter2@bucket/out", "--where=true"],
        ["feed", "--brokers=a://u:hunter2@h", "--topic=t"],
        ["feed", "--brokers=u:hunter2@h:9092", "--topic=t"],
        ["stream", "--brokers=h:1,u:hunter2@h:9092", "--topic=t"],
        ["annotate", "--config=https://u:hunter2@host/settings.toml"],
        ["train", "stl", "--corpus=x", "--data=s3://AKIA:hunter2@bucket", "--output=o"],
        ["corpora", "check", "--data=s3://AKIA:hunter2@bucket"],
        ["feed", "--brokers=h:1", "--topic=t", "--dead-letters=s3://AKIA:hunter2@bucket"],
        ["stream", "--brokers=h:1", "--topic=t", "--group=g", "--output=s3://A:hunter2@bucket"],
        ["dead-letters", "list", "s3://AKIA:hunter2@bucket/out"],
        ["dead-letters", "show", "s3://AKIA:hunter2@bucket/out", "a/0/0"],
        ["dead-letters", "replay", "s3://AKIA:hunter2@bucket/out", "--pipeline"],
        ["checkpoint", "list", "--registry=s3://AKIA:hunter2@bucket/out"],
        ["checkpoint", "show", "https://hunter2@host/checkpoint"],
        ["drift", "s3://AKIA:hunter2@bucket/out"],
        ["evaluate", "ftp://u:hunter2@host/checkpoint"],
        ["s3://AKIA:hunter2@bucket/out"],
    ],
)
def test_no_error_shows_a_password_of_a_url(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(words) == 2
    said = capsys.readouterr()
    assert "hunter2" not in said.out + said.err
    assert len(said.err.splitlines()) == 1


@pytest.mark.parametrize("command", ["annotate", "reannotate", "stream"])
def test_verbose_of_a_command_that_runs_beam_says_so(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([command, "--help"]) == 0
    assert "show Beam's log on standard error" in capsys.readouterr().out


@pytest.mark.parametrize("columns", [40, 120])
@pytest.mark.parametrize("words", [["annotate"], ["train", "mlm"], ["feed"], []])
def test_help_fits_a_terminal(
    columns: int,
    words: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    assert cli.main([*words, "--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if len(line) > columns and " " in line.strip()] == []
    assert max(map(len, lines)) > 0.6 * columns
