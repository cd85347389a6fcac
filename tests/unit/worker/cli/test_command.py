"""Settings from flags, environment, TOML file and defaults."""

from pathlib import Path
from typing import Literal

import pytest
from click.exceptions import Exit
from pydantic import Field, model_validator

from schemas.errors import SettingsError
from tests.support.settings import parse_settings
from worker.cli.command import Arguments, Settings, command


class Sample(Settings):
    """Settings with a field of every kind."""

    inputs: tuple[str, ...] = Field(default=(), description="what to read")
    corpus: tuple[str, ...] = Field(description="corpora to use")
    output: Path = Field(default=Path("out"), description="where to write")
    json_file: str | None = Field(default=None, description="the summary")
    block_size: int = Field(default=3, ge=1, description="records a block")
    device: Literal["auto", "cpu"] = Field(default="auto", description="where to run")
    store_text: bool = Field(default=True, description="keep the text")

    @model_validator(mode="after")
    def _check(self) -> "Sample":
        if "refused" in self.corpus:
            raise ValueError("the corpus is refused")
        return self


class OneWord(Settings):
    """Settings with a single required positional."""

    checkpoint: str = Field(description="what to show")


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CONFIG", "CORPUS", "BLOCK_SIZE", "JSON", "JSON_FILE", "STORE_TEXT", "OUTPUT"):
        monkeypatch.delenv(f"PUBNER_{name}", raising=False)


def parse(*words: str) -> Sample:
    return parse_settings(
        Sample, words, prog="pubner try it", description="Try it.", positional="inputs"
    )


def complaint(*words: str) -> str:
    with pytest.raises(SettingsError) as caught:
        parse(*words)
    message = str(caught.value)
    assert "\n" not in message
    return message


class Either(Settings):
    """Settings of which one of two is given."""

    alternatives = (("folder", "registry"),)
    folder: str | None = Field(default=None, description="here")
    registry: str | None = Field(default=None, description="there")


@pytest.mark.parametrize(
    ("words", "environment", "file", "expected"),
    [
        (["--folder=a"], {"REGISTRY": "b"}, "", ("a", None)),
        (["--registry=a"], {"FOLDER": "b"}, "", (None, "a")),
        ([], {"REGISTRY": "b"}, 'folder = "c"', (None, "b")),
        (["--folder=a"], {}, 'registry = "c"', ("a", None)),
        (["--folder=a", "--registry=b"], {}, "", ("a", "b")),
        ([], {"FOLDER": "a", "REGISTRY": "b"}, "", ("a", "b")),
    ],
)
def test_of_two_alternatives_the_stronger_source_has_its_way(
    words: list[str],
    environment: dict[str, str],
    file: str,
    expected: tuple[str | None, str | None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(f"PUBNER_{name}", value)
    (tmp_path / "settings.toml").write_text(file)
    config = f"--config={tmp_path / 'settings.toml'}"
    found = parse_settings(Either, [*words, config], prog="pubner try", description="Try.")
    assert (found.folder, found.registry) == expected


def test_of_a_list_that_is_refused_its_items_are_shown() -> None:
    class Pair(Settings):
        """A list of one length."""

        pair: tuple[str, ...] = Field(min_length=3, description="three")

    with pytest.raises(SettingsError) as caught:
        parse_settings(Pair, ["--pair=a,b"], prog="pubner try", description="Try.")
    assert str(caught.value).startswith("option --pair 'a,b': ")


class WithData(Settings):
    """Settings with a folder of corpora."""

    data: Path | None = Field(default=None, description="the corpora")


def test_the_variable_of_data_is_that_of_corpora(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PUBNER_DATA", "real")
    assert parse_settings(WithData, [], prog="pubner try", description="Try.").data is None
    monkeypatch.setenv("PUBNER_CORPORA", "corpora")
    found = parse_settings(WithData, [], prog="pubner try", description="Try.")
    assert found.data == Path("corpora")
    with pytest.raises(Exit):
        parse_settings(WithData, ["--help"], prog="pubner try", description="Try.")
    shown = " ".join(capsys.readouterr().out.split())
    assert "PUBNER_<OPTION>; --data is PUBNER_CORPORA." in shown


def test_defaults_hold_where_nothing_is_given() -> None:
    settings = parse("--corpus", "a")
    assert settings == Sample(corpus=("a",))
    assert (settings.output, settings.block_size, settings.store_text) == (Path("out"), 3, True)


def test_lists_come_by_comma_and_by_repetition() -> None:
    assert parse("--corpus", "a, b", "--corpus=c").corpus == ("a", "b", "c")


@pytest.mark.parametrize(
    "name",
    [
        "[0-9]*.xml",
        "a,b.xml",
        "{x}.xml",
        "null",
        "true",
        "-",
        "'q'.xml",
        "a=b.xml",
        '"',
        "\udcff.xml",
    ],
)
def test_positionals_arrive_as_they_were_typed(name: str) -> None:
    assert parse(name, "--corpus", "a", "other.xml").inputs == (name, "other.xml")


def test_words_behind_a_separator_are_positionals() -> None:
    assert parse("--corpus", "a", "--", "--odd-name.xml", "-h").inputs == ("--odd-name.xml", "-h")


def test_words_behind_the_first_separator_are_handed_on_to_beam() -> None:
    seen: list[object] = []

    @command(Sample, prog="pubner try it", positional="inputs", beam=True)
    def run(settings: Sample, arguments: Arguments, *, clock: int = 0) -> None:
        """Try it.

        It is tried.

        :raises InputError: never.
        """
        seen.extend([settings.inputs, arguments, clock])

    words = ["a.xml", "--corpus=x", "--", "--help", "--", "b.xml"]
    assert run(words, clock=7) == 0
    assert seen == [("a.xml",), Arguments(("a.xml", "--corpus=x"), ("--help", "--", "b.xml")), 7]
    assert run.help == "Try it.\n\nIt is tried."


@pytest.mark.parametrize("code", [None, 0, 3])
def test_what_a_command_returns_is_its_status(
    code: int | None, capsys: pytest.CaptureFixture[str]
) -> None:
    run = command(Sample, prog="pubner try it")(lambda settings: code)
    assert run(["--corpus=x"]) == (code or 0)
    assert run(["--help", "--wrong"]) == 0
    assert capsys.readouterr().out.startswith("usage: pubner try it [OPTION...]\n")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--store-text"], True),
        (["--no-store-text"], False),
        (["--store-text=false"], False),
        (["--no-store-text", "--store-text"], True),
    ],
)
def test_flags(words: list[str], expected: bool) -> None:
    assert parse("--corpus", "a", *words).store_text is expected


def test_a_dash_is_a_value() -> None:
    assert parse("--corpus", "a", "--json", "-").json_file == "-"


def test_flags_win_over_environment_over_file_over_defaults(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "settings.toml"
    file.write_text('corpus = ["x", "y"]\nblock-size = 7\noutput = "o"\njson = "f.json"\n')
    monkeypatch.setenv("PUBNER_BLOCK_SIZE", "8")
    monkeypatch.setenv("PUBNER_CORPUS", "e,f")
    settings = parse("--config", str(file), "--corpus", "z")
    assert settings == Sample(
        corpus=("z",), block_size=8, output=Path("o"), json_file="f.json", inputs=()
    )
    monkeypatch.setenv("PUBNER_CONFIG", str(file))
    monkeypatch.delenv("PUBNER_BLOCK_SIZE")
    assert (parse().corpus, parse().block_size) == (("e", "f"), 7)


def test_the_option_named_json_is_a_variable_of_that_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PUBNER_JSON", "s.json")
    assert parse("--corpus", "a").json_file == "s.json"


def test_an_empty_variable_is_no_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PUBNER_BLOCK_SIZE", "")
    assert parse("--corpus", "a").block_size == 3


def test_a_file_serves_several_commands(tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text(
        'corpus = ["x"]\nblock_size = 5\n[try.it]\nblock_size = 6\n[other]\nunknown = 1\n'
    )
    assert parse("--config", str(file)).block_size == 6


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        ([], ["missing required option --corpus"]),
        (["--corpus"], ["--corpus", "needs a value"]),
        (["--corpus", "--device", "cpu"], ["--corpus", "needs a value"]),
        (["--corpus", "a,,b"], ["--corpus", "a,,b", "empty"]),
        (["--corpus", "a", "--block-size", "zero"], ["--block-size", "'zero'", "integer"]),
        (["--corpus", "a", "--block-size", "0"], ["--block-size", "'0'", "greater"]),
        (["--corpus", "a", "--device", "gpu"], ["--device", "'gpu'", "'auto' or 'cpu'"]),
        (["--corpus", "a", "--devise", "cpu"], ["unknown option --devise", "--device"]),
        (["--corpus", "a", "--block_size", "1"], ["unknown option --block_size", "--block-size"]),
        (["--corpus", "a", "--json-file", "x"], ["unknown option --json-file"]),
        (["--corpus", "a", "-x"], ["unknown option -x"]),
        (["--corpus", "a", "--no-corpus"], ["unknown option --no-corpus"]),
        (["--corpus", "a", "--no-store-text=1"], ["--no-store-text", "takes no value"]),
        (["--corpus", "a", "--store-text=perhaps"], ["--store-text", "'perhaps'"]),
        (["--corpus", "refused"], ["the corpus is refused"]),
        (["--corpus", "a", "--config", "/does/not/exist.toml"], ["/does/not/exist.toml"]),
    ],
)
def test_what_is_wrong_is_named_in_one_line(words: list[str], parts: list[str]) -> None:
    message = complaint(*words)
    assert [part for part in parts if part not in message] == []


def test_the_place_of_a_wrong_value_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PUBNER_BLOCK_SIZE", "many")
    assert "environment variable PUBNER_BLOCK_SIZE 'many'" in complaint("--corpus", "a")
    monkeypatch.delenv("PUBNER_BLOCK_SIZE")
    file = tmp_path / "settings.toml"
    file.write_text('block-size = "many"\n')
    assert f"key 'block-size' of {file} 'many'" in complaint("--corpus", "a", "--config", str(file))
    file.write_text("blok-size = 1\n")
    message = complaint("--corpus", "a", "--config", str(file))
    assert "unknown key 'blok-size'" in message
    assert "'block-size'" in message
    file.write_text("= no toml")
    assert "is not TOML" in complaint("--corpus", "a", "--config", str(file))


def test_a_single_positional() -> None:
    def show(*words: str) -> OneWord:
        return parse_settings(
            OneWord, words, prog="pubner show", description="Show.", positional="checkpoint"
        )

    assert show("default").checkpoint == "default"
    with pytest.raises(SettingsError, match="missing argument CHECKPOINT"):
        show()
    with pytest.raises(SettingsError, match="unexpected argument 'b'"):
        show("a", "b")


def test_a_command_without_positionals_refuses_them() -> None:
    with pytest.raises(SettingsError, match="unexpected argument 'word'"):
        parse_settings(Sample, ["word"], prog="pubner x", description="X.")


def test_settings_are_frozen_and_closed() -> None:
    settings = parse("--corpus", "a")
    with pytest.raises(ValueError, match="frozen"):
        settings.block_size = 9  # type: ignore[misc]
    with pytest.raises(ValueError, match="Extra inputs"):
        Sample(corpus=("a",), unknown=1)  # type: ignore[call-arg]


def test_help_lists_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(Exit) as caught:
        parse("--wrong", "--help")
    assert caught.value.exit_code == 0
    text = capsys.readouterr().out
    for part in (
        "usage: pubner try it [OPTION...] [INPUTS...]",
        "--corpus CORPUS[,...]",
        "corpora to use (required)",
        "where to write (default: out)",
        "--json FILE",
        "--device {auto,cpu}",
        "--store-text | --no-store-text",
        "keep the text (default: yes)",
        "--config FILE",
    ):
        assert part in text
