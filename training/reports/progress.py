"""What a long command shows while it works, and how it is asked to stop.

The command notes in a `Work` what it is at, one thing within the other; a thread shows the
innermost on the console that the command prints on: as a line that is redrawn on a terminal, as a
line every ten seconds elsewhere. So a command is never silent, whatever it is busy with.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from types import FrameType
from typing import TYPE_CHECKING

from worker.cli.progress import LINE_SECONDS, Pace, Progress, Timed, drawn_line, written_line
from worker.cli.signals import stop_requests

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

_POLL_SECONDS = 0.2
_FIRST_SECONDS = 1.0
"""How soon the first line is written, so that a command says early what it is at."""


@dataclass(frozen=True, slots=True)
class LoopProgress:
    """How far a run is: steps done of all, epoch from 0, smoothed loss, word pieces a second."""

    step: int
    steps: int
    epoch: int
    loss: float
    pieces_per_second: float


class Stage:
    """One thing that a command is at, and how far it is."""

    def __init__(self, progress: Progress, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._now = progress
        self._pace = self._paced(progress)

    def advance(self, count: int = 1) -> None:
        """Note that `count` more are done."""
        self._now = replace(self._now, done=self._now.done + count)

    def update(self, done: int, total: int | None = None, note: str = "") -> None:
        """Note how many are done, of how many."""
        if not self._now.done:  # what an earlier start did is no pace
            self._pace = self._paced(replace(self._now, done=done))
        self._now = replace(self._now, done=done, total=total, note=note)

    def timed(self) -> Timed:
        """Return how far it is, and how fast."""
        return self._pace.of(self._now)

    def _paced(self, begin: Progress) -> Pace:
        pace = Pace(self._clock)
        pace.of(begin)
        return pace


class Work:
    """What a command is at: the stages that are open, the innermost last.

    `notice` is a line to be shown besides, once it is there. `on_stage` is called when a stage
    begins; `clock` gives seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.notice = ""
        self.on_stage: Callable[[], None] = lambda: None
        self._clock = clock
        self._begun = clock()
        self._open: tuple[Stage, ...] = ()

    @contextmanager
    def stage(self, task: str, total: int | None = None, unit: str = "") -> Iterator[Stage]:
        """Be at `task` while the block runs; `total` is None where it is not known."""
        stage = Stage(Progress(task, total=total, unit=unit), self._clock)
        self._open = (*self._open, stage)
        self.on_stage()
        try:
            yield stage
        finally:
            self._open = tuple(one for one in self._open if one is not stage)

    @contextmanager
    def sequence(self, unit: str) -> Iterator[Callable[[str, int], Callable[[int], None]]]:
        """Be at one task after the other while the block runs.

        What is yielded takes the task that begins and its total, and returns what takes how many
        more are done.
        """
        with ExitStack() as stack:

            def begin(task: str, total: int) -> Callable[[int], None]:
                stack.close()
                return stack.enter_context(self.stage(task, total, unit)).advance

            yield begin

    @contextmanager
    def training(self) -> Iterator[Callable[[LoopProgress], None]]:
        """Be at training while the block runs; yields what takes the progress of a loop."""
        with self.stage("training", unit="steps") as stage:

            def show(now: LoopProgress) -> None:
                rate = f"{now.pieces_per_second:,.0f} pieces/s"
                note = f"epoch {now.epoch + 1}, loss {now.loss:.4f}, {rate}"
                stage.update(now.step, now.steps, note)

            yield show

    def look(self) -> Timed | None:
        """Return how far the innermost stage is, and since when the command works; None for none.

        It is for the one thread that shows it.
        """
        stages = self._open
        if not stages:
            return None
        return replace(stages[-1].timed(), elapsed=self._clock() - self._begun)


@contextmanager
def show_work(console: "Console") -> Iterator[Work]:
    """Show on `console`, while the block runs, what is noted in the `Work` that is yielded."""
    work = Work()
    if console.is_terminal and not console.is_dumb_terminal:
        from rich.live import Live

        with Live(
            console=console,
            get_renderable=lambda: _drawn(work, console.width),
            refresh_per_second=1 / _POLL_SECONDS,
            transient=True,
            redirect_stdout=sys.stdout.isatty(),
            redirect_stderr=sys.stderr.isatty(),
        ) as live:
            work.on_stage = live.refresh
            yield work
        return
    ended = threading.Event()
    thread = threading.Thread(
        target=_write, args=(work, console, ended), name="pubner-progress", daemon=True
    )
    thread.start()
    try:
        yield work
    finally:
        ended.set()
        thread.join()


def _drawn(work: Work, width: int) -> "RenderableType":
    from rich.console import Group
    from rich.text import Text

    timed = work.look()
    lines: list[RenderableType] = [] if timed is None else [drawn_line(timed, width)]
    if work.notice:
        lines.append(Text(work.notice))
    return Group(*lines)


def _write(work: Work, console: "Console", ended: threading.Event) -> None:
    shown = ""
    due = time.monotonic() + _FIRST_SECONDS
    while not ended.wait(_POLL_SECONDS):
        timed = work.look()
        if work.notice != shown:
            shown = work.notice
            console.print(shown, soft_wrap=True)
        if timed is not None and time.monotonic() >= due:
            due = time.monotonic() + LINE_SECONDS - _POLL_SECONDS
            console.print(written_line(timed), soft_wrap=True)


@contextmanager
def stop_signals(work: Work) -> Iterator[list[int]]:
    """Collect the signals that ask a command to end instead of dying of them; a second one does.

    Where the terminal is gone, what would be written to it goes nowhere, so that the state is saved
    all the same.
    """
    received: list[int] = []
    terminals = [number for number in (1, 2) if os.isatty(number)]

    def note(number: int, frame: FrameType | None) -> None:
        del frame
        if number == signal.SIGHUP:
            _leave_terminals(terminals)
        if received:
            raise KeyboardInterrupt
        received.append(number)
        work.notice = "Stopping once the state can be saved; a second signal stops at once."

    before = {number: signal.signal(number, note) for number in stop_requests()}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _leave_terminals(terminals: list[int]) -> None:
    """Let those of the descriptors whose terminal is gone lead nowhere."""
    for number in terminals:
        if not os.isatty(number):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, number)
            os.close(nowhere)
