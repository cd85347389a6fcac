"""The completion scripts: what bash offers, and that the scripts know every command."""

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from pipelines.runners.names import KNOWN
from pubner import cli
from pubner.completion import entries
from training.recipes.recipe import RECIPES

SHELLS = ("bash", "zsh", "fish")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("completion")


@pytest.fixture
def scripts(folder: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """A folder with the script of each shell."""
    for shell in SHELLS:
        file = folder / shell
        if not file.exists():
            assert cli.main(["completion", shell]) == 0
            file.write_text(capsys.readouterr().out, "utf-8")
    return folder


def offered(scripts: Path, *words: str) -> list[str]:
    """What bash offers for the last of the words; it splits a line at `=`, too."""
    run = (
        f'source {scripts / "bash"}; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _pubner; '
        'printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = subprocess.run(
        ["bash", "--norc", "--noprofile", "-euo", "pipefail", "-c", run, "bash", *words],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("pubner", "an"), ["annotate"]),
        (("pubner", "--v"), ["--version"]),
        (("pubner", "checkpoint", "p"), ["publish", "promote"]),
        (("pubner", "corpora", ""), ["fetch", "check", "split", "leaks", "--help"]),
        (("pubner", "annotate", "--js"), ["--json"]),
        (("pubner", "annotate", "in.xml", "--no-st"), ["--no-store-text"]),
        (("pubner", "annotate", "--runner", ""), list(KNOWN)),
        (("pubner", "annotate", "--runner", "=", "Fl"), ["FlinkRunner"]),
        (("pubner", "stream", "--runner", "="), list(KNOWN)),
        (("pubner", "stream", "--isolation", "read_c"), ["read_committed"]),
        (("pubner", "dead-letters", "list", "--stage", "p"), ["parse"]),
        (("pubner", "train", "stl", "--recipe", ""), list(RECIPES)),
        (("pubner", "evaluate", "default", "--split", ""), ["train", "devel", "test"]),
        (("pubner", "annotate", "--device", "c"), ["cpu", "cuda"]),
        (("pubner", "completion", ""), list(SHELLS)),
        (("pubner", "help", "ret"), ["retrain"]),
        (("pubner", "annotate", "--output", ""), []),
        (("pubner", "annotate", ""), []),
        (("pubner", "nothing", "--x"), []),
    ],
)
def test_bash_offers(scripts: Path, words: Sequence[str], expected: list[str]) -> None:
    assert offered(scripts, *words) == expected


def test_bash_offers_every_option_that_help_shows(
    scripts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["stream", "--help"]) == 0
    shown = capsys.readouterr().out.replace(",", " ").split()
    options = offered(scripts, "pubner", "stream", "--")
    assert len(set(options)) == len(options) > 30
    assert [option for option in options if option not in shown] == []
    assert {word for word in shown if word.startswith("--no-")} <= set(options)
    assert "--sasl-password" not in options


@pytest.mark.parametrize("shell", SHELLS)
def test_every_script_has_every_command_and_is_sound(scripts: Path, shell: str) -> None:
    text = (scripts / shell).read_text("utf-8")
    for entry in entries():
        assert f"'{entry.name}'" in text or f"'{entry.words[0]}'" in text
        assert all(option.name in text for option in entry.options)
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed, so its script cannot be parsed")
    subprocess.run([shell, "-n", scripts / shell], check=True)


def test_what_has_moved_is_not_offered(scripts: Path) -> None:
    assert "experiments" not in offered(scripts, "pubner", "")


def test_an_unknown_shell_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["completion", "tcsh"]) == 2
    assert "'tcsh'" in capsys.readouterr().err
