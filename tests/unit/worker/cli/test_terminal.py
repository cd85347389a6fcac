"""Text that drives no terminal, and streams that can show any text."""

import io
import json
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.cli.console import human_console, print_table, write_json
from worker.cli.terminal import one_line, prepare_streams, safe_json, safe_text

HOSTILE = "\x1b[2J\x1b]0;title\x07\x9b31m\r\x08\x7f\u202e\u2066\u2028\udc80"
"""Clears the screen, sets the title, overwrites the line, and turns the text's direction."""


def is_safe(text: str) -> bool:
    """Whether nothing in the text can drive a terminal; line feeds are allowed."""
    return not any(
        (x < " " and x != "\n")
        or "\x7f" <= x <= "\x9f"
        or "\u2028" <= x <= "\u202e"
        or "\u2066" <= x <= "\u2069"
        or "\ud800" <= x <= "\udfff"
        for x in text
    )


any_text = st.text(st.characters(exclude_categories=()))


@given(any_text)
def test_any_text_is_safe_and_on_one_line(text: str) -> None:
    for shown in (safe_text(text), one_line(text)):
        assert is_safe(shown)
        assert "\n" not in shown
    lines = safe_text(text, lines=True)
    assert is_safe(lines.replace("\t", ""))
    assert lines.count("\n") == text.count("\n")


@given(any_text)
def test_json_is_safe_and_says_the_same(text: str) -> None:
    # Two lone surrogates side by side are read as the one character that they would be.
    text = "".join(x for x in text if not "\ud800" <= x <= "\udfff")
    for encoding in ("utf-8", "ascii", "iso8859-1"):
        written = safe_json({"a": text, "b": "\udc80"}, encoding=encoding)
        assert is_safe(written)
        written.encode(encoding)
        assert json.loads(written) == {"a": text, "b": "\udc80"}


def test_letters_of_all_languages_stay() -> None:
    text = "β-catenin, naïve, 癌, طب, 😀, a\u200db"
    assert safe_text(text) == one_line(text) == text


def test_of_a_long_word_the_middle_is_left_out() -> None:
    shown = one_line(f"cannot read '{'x' * 5000}end': too long")
    assert shown.startswith("cannot read 'xxx")
    assert shown.endswith("xxend': too long")
    assert "[5,006 characters]" in shown
    assert len(shown) < 350
    words = " ".join(["word"] * 500)
    assert one_line(words) == words


@pytest.mark.parametrize("terminal", [True, False])
def test_what_a_console_prints_cannot_drive_the_terminal(
    terminal: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rich.text import Text

    class Screen(io.StringIO):
        def isatty(self) -> bool:
            return terminal

    screen = Screen()
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setenv("TERM", "dumb")
    console = human_console()
    console.print(HOSTILE)
    console.print(HOSTILE, soft_wrap=True)
    console.print(Text(HOSTILE))
    print_table(console, [[HOSTILE, Text(HOSTILE)]], columns=[HOSTILE, "b"], title=HOSTILE)
    shown = screen.getvalue()
    assert is_safe(shown)
    assert "\\x1b[2J" in shown
    assert "\\u202e" in shown


def test_a_cell_with_a_line_feed_stays_on_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(human_console(), [["one\ntwo", "three"]])
    [line] = [line for line in capsys.readouterr().out.splitlines() if line.strip()]
    assert line.split() == ["one\\ntwo", "three"]


@pytest.mark.parametrize("encoding", ["ascii", "iso8859-1", "utf-8"])
def test_streams_show_what_their_encoding_lacks_as_escapes(
    encoding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = io.BytesIO()
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, io.TextIOWrapper(written, encoding, errors="strict"))
    prepare_streams()
    sys.stdout.write("β\udc80 ")
    sys.stdout.flush()
    human_console().print("TNF-β")
    write_json({"a": "β"}, "-")
    shown = written.getvalue().decode(encoding)
    assert shown.startswith("β" if encoding == "utf-8" else "\\u03b2")
    assert "TNF-" in shown
    assert json.loads(shown[shown.index("{") :]) == {"a": "β"}


def test_a_closed_stream_drops_what_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    prepare_streams()
    assert sys.stdout.write("nobody") == 6
    sys.stdout.close()
