"""Progress on standard error: a bar on a terminal, lines elsewhere."""

import io
import time

import pytest

from pipelines.monitor import Desk, open_desk
from pipelines.progress import show_progress


class Screen(io.StringIO):
    """Standard error, as a terminal or not."""

    def __init__(self, terminal: bool) -> None:
        super().__init__()
        self.terminal = terminal

    def isatty(self) -> bool:
        return self.terminal


def show_until(screen: Screen, wanted: str, desk: Desk) -> None:
    with show_progress(desk, total_bytes=200):
        for _ in range(3000):
            if wanted in screen.getvalue():
                return
            time.sleep(0.01)
    pytest.fail(f"{wanted!r} was not shown: {screen.getvalue()!r}")


@pytest.mark.parametrize("terminal", [True, False])
def test_what_is_done_is_shown(monkeypatch: pytest.MonkeyPatch, terminal: bool) -> None:
    screen = Screen(terminal)
    monkeypatch.setattr("sys.stderr", screen)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setattr("pipelines.progress.LINE_SECONDS", 0.0)
    with open_desk(time.monotonic) as desk:
        show_until(screen, "loading the model", desk)
        desk.monitor.report(models=1, input_bytes=50)
        desk.monitor.report(citations=1234)
        show_until(screen, "1,234 citations", desk)
        assert "25%" in screen.getvalue()
    assert ("\x1b[" in screen.getvalue()) is terminal
    if not terminal:
        lines = screen.getvalue().splitlines()
        assert all(line.endswith("of the input read") for line in lines)
