"""Progress display on standard error: one redrawn line on a terminal, otherwise separate lines.

The command records its progress in a `Meter`; a thread displays it, so that the clock runs while
the command is busy. On a terminal the line is redrawn five times a second and erased at the end;
otherwise a line is written every ten seconds:

    [1:20] annotating: 6,750 of about 30,000 citations, 85/s, 4:34 left
"""

import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

T = TypeVar("T")
LINE_SECONDS: Final = 10.0
"""Seconds between lines without a terminal."""
_REFRESH_SECONDS: Final = 0.2
_SHORTEST_BAR: Final = 8
_LONGEST_BAR: Final = 40
_MOST_SECONDS: Final = 100 * 86_400
"""Longer estimates of the remaining time are not shown."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Progress of a command in one of its tasks.

    `task` names the activity ("annotating"); `done` of `total` `unit` ("citations") are done.
    `total` is None if unknown, and may change if it is `estimated`. `note` is shown after the
    other fields.
    """

    task: str
    done: int = 0
    total: int | None = None
    unit: str = ""
    estimated: bool = False
    note: str = ""


@dataclass(frozen=True, slots=True)
class Timed:
    """Progress with timing: `rate` in units per second, `left` in seconds; None if unknown.

    `elapsed` is the number of seconds since the command began.
    """

    progress: Progress
    elapsed: float
    rate: float | None = None
    left: float | None = None


@dataclass(slots=True)
class Pace:
    """Measures the rate of each task, as the average since it was first observed.

    `clock` returns seconds from any origin.
    """

    clock: Callable[[], float]
    _began: float = field(init=False)
    _task: str | None = field(default=None, init=False)
    _task_began: float = field(default=0.0, init=False)
    _done_before: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self._began = self.clock()

    def begin(self, now: Progress) -> None:
        """Measure from `now` on."""
        self._task, self._task_began, self._done_before = now.task, self.clock(), now.done

    def of(self, now: Progress) -> Timed:
        """Return `now` with its rate and the remaining time."""
        if now.task != self._task or now.done < self._done_before:
            self.begin(now)
        time_now = self.clock()
        seconds, done = time_now - self._task_began, now.done - self._done_before
        elapsed = time_now - self._began
        if seconds <= 0 or done <= 0:
            return Timed(now, elapsed)
        rate = done / seconds
        left = None if now.total is None else max(0, now.total - now.done) / rate
        return Timed(now, elapsed, rate, left if left is None or left < _MOST_SECONDS else None)


class Shown:
    """What a command shows while it runs: its progress, and lines apart from it.

    `changed` is called when another task begins, so that it is shown at once.
    """

    def __init__(self) -> None:
        self.changed: Callable[[], object] = _nothing
        self._messages: deque[str] = deque()

    def look(self) -> Timed | None:
        """Return the progress now, with its rate; None if there is none."""
        raise NotImplementedError

    def show(self, message: str) -> None:
        """Queue a line to be shown apart from the progress; safe to call in a signal handler.

        Outside of `show_progress` it is never shown.
        """
        self._messages.append(message)

    def drain_messages(self) -> list[str]:
        """Return the queued lines and empty the queue."""
        drained = []
        with suppress(IndexError):
            while True:
                drained.append(self._messages.popleft())
        return drained


class Meter(Shown):
    """A command's recorded progress; any thread may update it or read it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._pace = Pace(clock)
        self.begin("starting")

    def begin(self, task: str, *, total: int | None = None, unit: str = "") -> None:
        """Begin another task, with nothing done yet."""
        self._now = Progress(task, total=total, unit=unit)
        self._pace.begin(self._now)
        self._poll: Callable[[], Progress] = lambda: self._now
        self.changed()

    def update(self, done: int, total: int | None = None, note: str = "") -> None:
        """Record how much of the task is done; without `total` its total stays as it is.

        What an earlier start of the command has done does not count for the rate.
        """
        was = self._now
        self._now = replace(was, done=done, total=was.total if total is None else total, note=note)
        if not was.done:
            self._pace.begin(self._now)

    def advance(self, count: int = 1) -> None:
        """Record that `count` more units of the task are done."""
        self._now = replace(self._now, done=self._now.done + count)

    def each(self, items: Iterable[T]) -> Iterator[T]:
        """Yield `items`; each counts as done when the next is requested."""
        for item in items:
            yield item
            self.advance()

    def follow(self, poll: Callable[[], Progress]) -> None:
        """From now on obtain the progress by calling `poll`, from another thread."""
        self._poll = poll

    def current(self) -> Progress:
        """Return the command's current progress."""
        return self._poll()

    def look(self) -> Timed:
        """Return the progress now, with its rate."""
        return self._pace.of(self.current())


S = TypeVar("S", bound=Shown)


@contextmanager
def show_progress(
    shown: S, console: "Console | None" = None, *, first_seconds: float | None = None
) -> Iterator[S]:
    """Display progress while the block runs: a line that is drawn again, or lines of a log.

    It is shown on `console`, by default standard error. Without a terminal to draw on, the first
    line is written after `first_seconds`, and then one every `LINE_SECONDS`.
    """
    from rich.console import Console

    console = console or Console(stderr=True, highlight=False, markup=False, emoji=False)
    ended, ready = threading.Event(), threading.Event()
    if console.is_terminal and not console.is_dumb_terminal:
        run = partial(_draw, shown, console, ended, ready)
    else:
        run = partial(_write, shown, console, ended, first_seconds)
        ready.set()
    thread = threading.Thread(target=run, name="pubner-progress", daemon=True)
    thread.start()
    ready.wait()
    try:
        yield shown
    finally:
        ended.set()
        thread.join()


@contextmanager
def show_loading(*, lines: bool = True) -> Iterator[None]:
    """Display, while the block runs, that the command is loading its libraries.

    Without a terminal nothing is written unless `lines` is true.
    """
    if not lines and not sys.stderr.isatty():
        yield
        return
    meter = Meter()
    meter.begin("loading the libraries")
    with show_progress(meter):
        yield


def _draw(shown: Shown, console: "Console", ended: threading.Event, ready: threading.Event) -> None:
    try:
        _draw_on(shown, console, ended, ready.set)
    finally:
        shown.changed = _nothing
        ready.set()


def _draw_on(
    shown: Shown, console: "Console", ended: threading.Event, begun: Callable[[], object]
) -> None:
    from rich.live import Live

    def line() -> "RenderableType":
        timed = shown.look()
        return "" if timed is None else drawn_line(timed, console.width)

    live = Live(
        console=console,
        get_renderable=line,
        auto_refresh=False,
        transient=True,
        redirect_stdout=sys.stdout.isatty(),
        redirect_stderr=sys.stderr.isatty(),
    )

    def refresh() -> None:
        with suppress(OSError, ValueError):
            live.refresh()

    # A closed terminal cannot be written to: that ends only the display.
    with suppress(OSError, ValueError), live:
        shown.changed = refresh
        begun()
        while not _passed_on(shown, console, ended):
            live.refresh()


def _write(
    shown: Shown, console: "Console", ended: threading.Event, first_seconds: float | None
) -> None:
    wait = LINE_SECONDS if first_seconds is None else first_seconds
    due = time.monotonic() + wait - _REFRESH_SECONDS
    with suppress(OSError, ValueError):
        while not _passed_on(shown, console, ended):
            timed = shown.look()
            if timed is not None and time.monotonic() >= due:
                due = time.monotonic() + LINE_SECONDS - _REFRESH_SECONDS
                console.print(written_line(timed), soft_wrap=True)


def _passed_on(shown: Shown, console: "Console", ended: threading.Event) -> bool:
    """Wait a little, then show the queued lines; return whether the display ends."""
    last = ended.wait(_REFRESH_SECONDS)
    for message in shown.drain_messages():
        console.print(message, soft_wrap=True)
    return last


def _nothing() -> None:
    pass


def written_line(timed: Timed) -> str:
    """Return the progress as one line of a log, without the line feed."""
    now = timed.progress
    parts = [_count(now), _rate(timed), _left(timed), now.note]
    details = ", ".join(part for part in parts if part)
    return f"[{_clock(timed.elapsed)}] {now.task}{': ' if details else ''}{details}"


def drawn_line(timed: Timed, width: int) -> "RenderableType":
    """Return the progress as one line of at most `width` columns.

    If it does not fit, the bar is dropped first, then the note, the rate, the unit and the
    remaining time.
    """
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    now = timed.progress
    clock = _clock(timed.elapsed)
    forms = [
        [_count(now), _rate(timed), _left(timed), now.note, clock],
        [_count(now), _rate(timed), _left(timed), clock],
        [_count(now), _left(timed), clock],
        [_short_count(now), _left(timed), clock],
        [_short_count(now), clock],
        [clock],
    ]
    lines = ["  ".join(part for part in form if part) for form in forms]
    details = next((x for x in lines if len(now.task) + len(x) + 2 <= width), lines[-1])
    room = width - len(now.task) - len(details) - 4
    if now.total and room >= _SHORTEST_BAR:
        grid = Table.grid(padding=(0, 2, 0, 0))
        bar = ProgressBar(now.total, min(now.done, now.total), width=min(room, _LONGEST_BAR))
        grid.add_row(Text(now.task), bar, Text(details))
        return grid
    line = Text(f"{now.task}  {details}", no_wrap=True)
    line.truncate(width, overflow="ellipsis")
    return line


def _count(now: Progress) -> str:
    if now.total is None:
        return f"{now.done:,} {now.unit}".rstrip() if now.done else ""
    about = "about " if now.estimated else ""
    return f"{now.done:,} of {about}{now.total:,} {now.unit}".rstrip()


def _short_count(now: Progress) -> str:
    if now.total is None:
        return f"{now.done:,}" if now.done else ""
    return f"{now.done:,}/{now.total:,}"


def _rate(timed: Timed) -> str:
    if timed.rate is None:
        return ""
    return f"{timed.rate:,.0f}/s" if timed.rate >= 10 else f"{timed.rate:,.2g}/s"


def _left(timed: Timed) -> str:
    return "" if timed.left is None else f"{_clock(timed.left)} left"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
