"""Services of deploy/local as processes of their own."""

import importlib
import io
from pathlib import Path
from typing import Any

import pytest

LOCAL = Path(__file__).resolve().parents[3] / "deploy" / "local"


class Screen(io.StringIO):
    """Standard error, a terminal or not."""

    def __init__(self, *, terminal: bool) -> None:
        super().__init__()
        self._terminal = terminal

    def isatty(self) -> bool:
        return self._terminal


@pytest.mark.parametrize("terminal", [True, False])
def test_a_terminal_shows_once_what_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, terminal: bool
) -> None:
    monkeypatch.syspath_prepend(str(LOCAL))
    processes: Any = importlib.import_module("processes")
    service = processes.Service(tmp_path, "sleeper")
    service.start(["sleep", "60"])
    screen = Screen(terminal=terminal)
    monkeypatch.setattr("sys.stderr", screen)
    answers = iter([False, False, True, True])
    try:
        service.wait_until(lambda: next(answers))
        service.wait_until(lambda: next(answers))
    finally:
        service.stop()
    assert screen.getvalue() == ("waiting for sleeper\n" if terminal else "")
