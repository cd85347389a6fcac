"""Progress display of long commands, and their stop signals.

The command records its nested stages in a `Work`; a thread shows the innermost one on the command's
console: as a redrawn line on a terminal, as a line every ten seconds elsewhere. So a command is
never silent for long.
"""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NoReturn

from worker.cli.progress import Meter, Shown, Timed, show_progress
from worker.cli.signals import handling_stop_signals

if TYPE_CHECKING:
    from rich.console import Console

_FIRST_SECONDS = 1.0
"""Seconds until the first line is written, early in the command."""


@dataclass(frozen=True, slots=True)
class LoopProgress:
    """The progress of a training loop: steps, epoch (from 0), smoothed loss and speed."""

    step: int
    steps: int
    epoch: int
    loss: float
    pieces_per_second: float


class Work(Shown):
    """The progress of a command: its open stages, the innermost last; `clock` returns seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._begun = clock()
        self._open: tuple[Meter, ...] = ()

    @contextmanager
    def stage(self, task: str, total: int | None = None, unit: str = "") -> Iterator[Meter]:
        """Open the stage `task` while the block runs; `total` is None if unknown."""
        stage = Meter(self._clock)
        stage.changed = lambda: self.changed()  # whatever it is then
        stage.begin(task, total=total, unit=unit)
        self._open = (*self._open, stage)
        self.changed()
        try:
            yield stage
        finally:
            self._open = tuple(one for one in self._open if one is not stage)

    @contextmanager
    def sequence(self, unit: str) -> Iterator[Callable[[str, int], Callable[[int], None]]]:
        """Open consecutive stages while the block runs.

        Yields a function from a task and its total to a callback for the number of further items
        done.
        """
        with ExitStack() as stack:

            def begin(task: str, total: int) -> Callable[[int], None]:
                stack.close()
                return stack.enter_context(self.stage(task, total, unit)).advance

            yield begin

    @contextmanager
    def training(self) -> Iterator[Callable[[LoopProgress], None]]:
        """Open a training stage while the block runs; yields a callback for loop progress."""
        with self.stage("training", unit="steps") as stage:

            def show(now: LoopProgress) -> None:
                rate = f"{now.pieces_per_second:,.0f} pieces/s"
                note = f"epoch {now.epoch + 1}, loss {now.loss:.4f}, {rate}"
                stage.update(now.step, now.steps, note)

            yield show

    def look(self) -> Timed | None:
        """Return the progress of the innermost stage and the command's elapsed time, or None."""
        stages = self._open
        if not stages:
            return None
        return replace(stages[-1].look(), elapsed=self._clock() - self._begun)


@contextmanager
def show_work(console: "Console") -> Iterator[Work]:
    """Show the yielded `Work` on `console` while the block runs."""
    with show_progress(Work(), console, first_seconds=_FIRST_SECONDS) as work:
        yield work


@contextmanager
def stop_signals(work: Work) -> Iterator[list[int]]:
    """Collect the first stop signal, so that the command can save its state; a second one kills it.

    If the terminal is gone, output to it is discarded, so that the state is still saved.
    """
    terminals = [number for number in (1, 2) if os.isatty(number)]

    def first(number: int) -> None:
        if number == signal.SIGHUP:
            _leave_terminals(terminals)
        work.show("Stopping once the state can be saved; a second signal stops at once.")

    def again(number: int) -> NoReturn:
        if number == signal.SIGHUP:
            _leave_terminals(terminals)
        raise KeyboardInterrupt

    with handling_stop_signals(first, again) as received:
        yield received


def _leave_terminals(terminals: list[int]) -> None:
    """Redirect descriptors whose terminal is gone to the null device."""
    for number in terminals:
        if not os.isatty(number):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, number)
            os.close(nowhere)
