"""How far a command is, on a terminal of any width and without one."""

import io
import re
import threading
import time
from collections.abc import Callable

import pytest
from rich.console import Console

from worker.cli.progress import (
    Meter,
    Pace,
    Progress,
    Timed,
    drawn_line,
    show_loading,
    show_progress,
    written_line,
)

ALL = Progress("annotating", 1200, 30_000, "citations", estimated=True, note="300 written before")


class Screen(io.StringIO):
    """Standard error, as a terminal or not; it may be closed at the other end."""

    def __init__(self, *, terminal: bool = False, gone: bool = False) -> None:
        super().__init__()
        self.terminal = terminal
        self.gone = gone

    def isatty(self) -> bool:
        return self.terminal

    def write(self, text: str) -> int:
        if self.gone:
            raise OSError(5, "Input/output error")
        return super().write(text)


def test_a_line_says_done_of_how_many_rate_and_time_left() -> None:
    assert written_line(Timed(ALL, 80, rate=85.2, left=338)) == (
        "[1:20] annotating: 1,200 of about 30,000 citations, 85/s, 5:38 left, 300 written before"
    )
    assert written_line(Timed(Progress("loading the model"), 3725)) == "[1:02:05] loading the model"
    assert written_line(Timed(Progress("reading", 3, unit="blocks"), 0, rate=0.25)) == (
        "[0:00] reading: 3 blocks, 0.25/s"
    )


@pytest.mark.parametrize("width", [1, 20, 30, 40, 60, 80, 100, 120, 200])
@pytest.mark.parametrize(
    "progress", [ALL, Progress("loading the model"), Progress("reading", 3, unit="blocks")]
)
def test_a_drawn_line_is_one_line_that_fits(width: int, progress: Progress) -> None:
    console = Console(width=width, file=io.StringIO(), force_terminal=False)
    with console.capture() as capture:
        console.print(drawn_line(Timed(progress, 80, rate=85.2, left=338), width))
    [line] = capture.get().splitlines()
    assert len(line.rstrip()) <= width
    if width >= 40:
        assert "1:20" in line
        assert progress.task in line
    if progress is ALL and width >= 40:
        assert "1,200" in line
        assert "30,000" in line
    if progress is ALL and width >= 100:
        assert "of about 30,000 citations  85/s  5:38 left" in line


def test_the_rate_is_that_of_the_task() -> None:
    now = 0.0
    pace = Pace(lambda: now)
    assert pace.of(Progress("loading")) == Timed(Progress("loading"), 0)
    now = 10.0
    begun = Progress("annotating", 100, 600)  # the part that a run before has done
    assert pace.of(begun) == Timed(begun, 10)
    now = 20.0
    later = Progress("annotating", 300, 600)
    assert pace.of(later) == Timed(later, 20, rate=20, left=15)
    now = 30.0
    done = Progress("annotating", 700, 600)
    assert pace.of(done) == Timed(done, 30, rate=30, left=0)
    now = 40.0
    again = Progress("annotating", 5, 600)  # another task of the same name
    assert pace.of(again) == Timed(again, 40)


def test_a_meter() -> None:
    meter = Meter()
    assert meter.current() == Progress("starting")
    meter.begin("reading", total=3, unit="blocks")
    for number, item in enumerate(meter.each("abc")):
        assert meter.current() == Progress("reading", number, 3, "blocks")
        assert item == "abc"[number]
    assert meter.current().done == 3
    meter.update(1, total=9, note="slow")
    assert meter.current() == Progress("reading", 1, 9, "blocks", note="slow")
    meter.follow(lambda: ALL)
    assert meter.current() is ALL
    meter.begin("counting")
    assert meter.current() == Progress("counting")


def wait_for(shown: Callable[[], str], wanted: str) -> None:
    for _ in range(3000):
        if wanted in shown():
            return
        time.sleep(0.01)
    pytest.fail(f"{wanted!r} was not shown: {shown()!r}")


@pytest.mark.parametrize("columns", [40, 120])
def test_a_terminal_shows_each_step(monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    screen = Screen(terminal=True)
    monkeypatch.setattr("sys.stderr", screen)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", str(columns))
    with show_progress(Meter()) as meter:
        meter.begin("loading the model")
        wait_for(screen.getvalue, "loading the model")
        meter.begin("annotating", total=9, unit="citations")
        meter.advance(4)
        wait_for(screen.getvalue, "4 of 9 citations" if columns > 40 else "annotating")
        meter.show("pubner: stopping")
        wait_for(screen.getvalue, "pubner: stopping\n")
    drawn = re.split(r"\x1b\[[0-9;?]*[A-Za-z]|[\r\n]", screen.getvalue())
    assert max(map(len, drawn)) <= columns
    assert threading.active_count() == 1 or "pubner-progress" not in {
        thread.name for thread in threading.enumerate()
    }


@pytest.mark.parametrize("term", ["dumb", None])
def test_lines_without_a_terminal_that_can_be_drawn_on(
    monkeypatch: pytest.MonkeyPatch, term: str | None
) -> None:
    screen = Screen(terminal=term is not None)
    monkeypatch.setattr("sys.stderr", screen)
    monkeypatch.setenv("TERM", term or "xterm")
    monkeypatch.setattr("worker.cli.progress.LINE_SECONDS", 0.0)
    with show_progress(Meter()) as meter:
        wait_for(screen.getvalue, "starting\n")
        meter.begin("annotating", total=9, unit="citations")
        meter.advance(4)
        wait_for(screen.getvalue, "annotating: 4 of 9 citations")
        meter.show("pubner: stopping")
    assert "pubner: stopping\n" in screen.getvalue()
    assert "\x1b" not in screen.getvalue()
    assert all(re.match(r"\[\d+:\d\d\] |pubner: ", x) for x in screen.getvalue().splitlines())


@pytest.mark.parametrize(("terminal", "lines"), [(True, False), (False, True), (False, False)])
def test_that_libraries_are_loaded_is_shown(
    monkeypatch: pytest.MonkeyPatch, terminal: bool, lines: bool
) -> None:
    screen = Screen(terminal=terminal)
    monkeypatch.setattr("sys.stderr", screen)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setattr("worker.cli.progress.LINE_SECONDS", 0.0)
    with show_loading(lines=lines):
        if terminal or lines:
            wait_for(screen.getvalue, "loading the libraries")
        else:
            time.sleep(0.5)
    assert bool(screen.getvalue()) == (terminal or lines)


@pytest.mark.parametrize("terminal", [True, False])
def test_a_terminal_that_was_closed_harms_nothing(
    monkeypatch: pytest.MonkeyPatch, terminal: bool
) -> None:
    screen = Screen(terminal=terminal)
    monkeypatch.setattr("sys.stderr", screen)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setattr("worker.cli.progress.LINE_SECONDS", 0.0)
    with show_progress(Meter()) as meter:
        wait_for(screen.getvalue, "starting")
        screen.gone = True
        meter.show("pubner: stopping")
        time.sleep(0.5)
