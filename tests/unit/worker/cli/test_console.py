"""JSON files and tables."""

import io
import json
import os
import re
from pathlib import Path

import pytest
from rich.console import Console
from rich.text import Text

from schemas.errors import OutputError
from worker.cli.console import human_console, print_table, write_json


def test_json_goes_to_a_file_whose_folders_are_made(tmp_path: Path) -> None:
    file = tmp_path / "a" / "b.json"
    write_json({"x": "é"}, str(file))
    write_json({"x": "ü"}, str(file))
    assert json.loads(file.read_text("utf-8")) == {"x": "ü"}
    assert [path.name for path in file.parent.iterdir()] == ["b.json"]


def test_json_goes_to_standard_output_alone(capsys: pytest.CaptureFixture[str]) -> None:
    console = human_console("-")
    console.print("for people")
    write_json([1], "-")
    found = capsys.readouterr()
    assert json.loads(found.out) == [1]
    assert found.err == "for people\n"


def test_json_goes_to_a_device_as_it_is() -> None:
    write_json([1], os.devnull)
    assert not Path(os.devnull).is_file()


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    blocker = tmp_path / "file"
    blocker.write_text("")
    with pytest.raises(OutputError, match=r"cannot write .*file/x\.json"):
        write_json([1], str(blocker / "x.json"))


def test_a_failed_replacement_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "x.json"
    write_json([1], str(file))

    def full(self: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OutputError, match="No space left"):
        write_json([2], str(file))
    assert json.loads(file.read_text()) == [1]
    assert [path.name for path in tmp_path.iterdir()] == ["x.json"]


@pytest.mark.parametrize("terminal", [True, False])
def test_columns_that_are_whole_are_not_folded_on_a_narrow_console(terminal: bool) -> None:
    stream = io.StringIO()
    console = Console(file=stream, width=20, force_terminal=terminal, no_color=True)
    long = "0123456789" * 3
    print_table(console, [(long, "a b c d e f g h i j k l m n o p")], whole=[0])
    assert long in stream.getvalue()
    assert all(dead_letter in stream.getvalue() for dead_letter in "abcdefghijklmnop")


@pytest.mark.parametrize("whole", [(), (0,)])
def test_on_a_terminal_that_is_too_narrow_each_row_is_a_list(whole: tuple[int, ...]) -> None:
    stream = io.StringIO()
    console = Console(file=stream, width=40, force_terminal=True, no_color=True)
    columns = ["id", "published", "by", "devel"]
    rows = [
        ("e987a1eb48de3e5d", "2026-11-30T21:34:00Z", "", "ncbi-disease 85.8"),
        ("0123456789abcdef", "2026-11-30T21:35:00Z", "someone", ""),
    ]
    print_table(console, rows, columns=columns, title="Two", whole=whole)
    shown = re.sub(r"\x1b\[[0-9;]*m", "", stream.getvalue())
    assert [line.split() for line in shown.splitlines() if line.strip()] == [
        ["Two"],
        ["id", "e987a1eb48de3e5d"],
        ["published", "2026-11-30T21:34:00Z"],
        ["devel", "ncbi-disease", "85.8"],
        ["id", "0123456789abcdef"],
        ["published", "2026-11-30T21:35:00Z"],
        ["by", "someone"],
    ]
    assert max(map(len, shown.splitlines())) <= 40


@pytest.mark.parametrize("columns", [40, 80, 120])
def test_a_cell_that_is_cut_leaves_room_for_all_other_columns(columns: int) -> None:
    stream = io.StringIO()
    console = Console(file=stream, width=columns, force_terminal=True, no_color=True)
    names = ["source", "partition", "offset", "error", "bytes"]
    rows = [("a.jsonl", 0, n, "it is not JSON: " + "expecting " * 9, "1,234") for n in (7, 8)]
    print_table(console, rows, columns=names, right=[1, 2, 4], whole=[0, 1, 2, 4], cut=[3])
    header, _, *lines = [x for x in stream.getvalue().splitlines() if x.strip()]
    assert re.sub(r"\x1b\[[0-9;]*m", "", header).split() == names
    assert [line.split()[:3] for line in lines] == [["a.jsonl", "0", "7"], ["a.jsonl", "0", "8"]]
    assert all(line.split()[-1] == "1,234" and "…" in line for line in lines)
    assert max(map(len, lines)) <= max(columns, 64)


def test_without_a_terminal_a_row_is_never_a_list() -> None:
    stream = io.StringIO()
    console = Console(file=stream, width=40, no_color=True)
    cells = ["0123456789ab"] * 4
    print_table(console, [cells], columns=["one", "two", "three", "four"], whole=range(4))
    assert cells in [line.split() for line in stream.getvalue().splitlines()]


def test_tables_have_no_colours_without_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    name = "a-very-long-cell-" * 5
    print_table(
        human_console(),
        [(Text("dead letters", "bold red"), 3), (name, "[not markup]")],
        columns=["what", "how many"],
        title="Table",
        right=[1],
    )
    text = capsys.readouterr().out
    assert "\x1b" not in text
    assert name in text
    assert "[not markup]" in text
    assert [line.split() for line in text.splitlines() if "dead" in line] == [
        ["dead", "letters", "3"]
    ]


def test_tables_have_colours_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    stream = Terminal()
    monkeypatch.setattr("sys.stdout", stream)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    print_table(human_console(), [(Text("dead letters", "bold red"), 3)])
    assert "\x1b[1;31m" in stream.getvalue()
