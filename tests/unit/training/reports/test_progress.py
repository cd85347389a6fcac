"""What a training command says it is at."""

import io
import re
import signal
import time

import pytest
from rich.console import Console

from training.reports.progress import LoopProgress, Work, show_work, stop_signals
from worker.cli.progress import written_line

NOTICE = "Stopping once the state can be saved; a second signal stops at once."


class Clock:
    """Seconds that a test sets."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def line(work: Work) -> str:
    timed = work.look()
    assert timed is not None
    return written_line(timed)


def test_the_innermost_stage_is_shown_with_its_own_rate_and_the_commands_time() -> None:
    clock = Clock()
    work = Work(clock)
    assert work.look() is None
    with work.stage("training", 100, "steps") as training:
        clock.now += 20
        training.advance(10)
        assert line(work) == "[0:20] training: 10 of 100 steps, 0.5/s, 3:00 left"
        with work.stage("scoring devel", 50, "sentences") as scoring:
            clock.now += 2
            scoring.advance(40)
            assert line(work) == "[0:22] scoring devel: 40 of 50 sentences, 20/s, 0:00 left"
        assert line(work).startswith("[0:22] training: 10 of 100 steps, 0.45/s")
    assert work.look() is None


def test_before_the_first_step_there_is_no_rate() -> None:
    work = Work(Clock())
    with work.training() as show:
        assert line(work) == "[0:00] training"
        show(LoopProgress(0, 10, 0, float("nan"), 0.0))
        assert line(work) == "[0:00] training: 0 of 10 steps, epoch 1, loss nan, 0 pieces/s"


def test_what_an_earlier_start_did_is_no_pace() -> None:
    clock = Clock()
    work = Work(clock)
    with work.training() as show:
        show(LoopProgress(901, 1000, 2, 0.5, 1234.4))
        clock.now += 10
        show(LoopProgress(911, 1000, 2, 0.25, 1234.4))
        assert line(work) == (
            "[0:10] training: 911 of 1,000 steps, 1/s, 1:29 left, epoch 3, loss 0.2500, "
            "1,234 pieces/s"
        )


def test_a_sequence_has_one_stage_at_a_time() -> None:
    work = Work(Clock())
    with work.sequence("texts") as begin:
        begin("devel", 4)(2)
        assert line(work) == "[0:00] devel: 2 of 4 texts"
        begin("canary", 9)
        assert line(work) == "[0:00] canary: 0 of 9 texts"
    assert work.look() is None


def test_a_stage_that_fails_is_over() -> None:
    work = Work(Clock())
    with pytest.raises(ZeroDivisionError), work.stage("reading"):
        assert 1 / 0
    assert work.look() is None


def test_without_a_terminal_a_line_is_written_and_no_escape_code() -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=False, width=40)
    with show_work(console) as work, work.stage("having the teachers read a long text", 9, "texts"):
        while not out.getvalue():
            time.sleep(0.05)
    (written,) = set(out.getvalue().splitlines())
    assert written.endswith("having the teachers read a long text: 0 of 9 texts")


def test_a_notice_is_whole_on_a_narrow_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    stream = io.StringIO()
    with show_work(Console(file=stream, force_terminal=True, width=40, no_color=True)) as work:
        work.show(NOTICE)
        with work.stage("training"):
            time.sleep(0.5)
    shown = " ".join(re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", stream.getvalue()).split())
    assert NOTICE in shown


def test_signals_are_collected_and_a_second_one_interrupts() -> None:
    work = Work()
    before = signal.getsignal(signal.SIGHUP)
    with stop_signals(work) as received:
        signal.raise_signal(signal.SIGHUP)
        assert received == [signal.SIGHUP]
        assert work.drain_messages() == [NOTICE]
        try:
            signal.raise_signal(signal.SIGTERM)
        except KeyboardInterrupt:
            received.append(0)
    assert received == [signal.SIGHUP, 0]
    assert signal.getsignal(signal.SIGHUP) is before


def test_a_signal_that_is_ignored_stays_so() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stop_signals(Work()) as received:
            signal.raise_signal(signal.SIGHUP)
            assert received == []
    finally:
        signal.signal(signal.SIGHUP, before)
