"""How far a feed is."""

import pytest

from pipelines.feed.progress import Meter, show_progress


def test_a_meter_shows_now_and_then() -> None:
    now = [0.0]
    shown: list[tuple[int, str]] = []
    meter = Meter(lambda done, text: shown.append((done, text)), 10.0, lambda: now[0])
    meter.read(5)
    meter.note(lambda: "too soon")
    now[0] = 10.0
    meter.read(6)
    meter.note(lambda: "first")
    meter.note(lambda: "too soon")
    now[0] = 20.5
    meter.note(lambda: "second")
    assert shown == [(11, "first"), (11, "second")]


def test_lines_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with show_progress(200) as meter:
        meter.show(50, "7 messages sent")
        meter.show(900, "8 messages sent")
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "7 messages sent, 25% of the input read",
        "8 messages sent, 100% of the input read",
    ]
