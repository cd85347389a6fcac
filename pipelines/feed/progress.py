"""How far a feed is: a bar on a terminal, a line now and then elsewhere; on standard error."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from pipelines.bar import LINE_SECONDS, REFRESH_SECONDS, line, make_bar


@dataclass(slots=True)
class Meter:
    """Counts the bytes that are read, and shows them with a note now and then.

    `show` takes the bytes so far and the note; `clock` gives seconds from any origin.
    """

    show: Callable[[int, str], None]
    every_seconds: float
    clock: Callable[[], float]
    done_bytes: int = 0
    _shown_at: float = field(init=False)

    def __post_init__(self) -> None:
        self._shown_at = self.clock()

    def read(self, size: int) -> None:
        """Note that `size` bytes more were read, or passed over."""
        self.done_bytes += size

    def note(self, text: Callable[[], str]) -> None:
        """Show how far the feed is, if it is time to."""
        now = self.clock()
        if now - self._shown_at >= self.every_seconds:
            self._shown_at = now
            self.show(self.done_bytes, text())


@contextmanager
def show_progress(total_bytes: int) -> Iterator[Meter]:
    """Show, while the block runs, what the meter is told of inputs of `total_bytes`."""
    if not sys.stderr.isatty():

        def write(done: int, text: str) -> None:
            sys.stderr.write(line(text, done, total_bytes))
            sys.stderr.flush()

        yield Meter(write, LINE_SECONDS, time.monotonic)
        return
    with make_bar("feeding") as bar:
        task = bar.add_task("", total=max(1, total_bytes), note="")

        def draw(done: int, text: str) -> None:
            bar.update(task, completed=min(done, total_bytes), note=text)

        yield Meter(draw, REFRESH_SECONDS, time.monotonic)
