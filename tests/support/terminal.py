"""Runs `pubner` on a pseudo-terminal of a given width, and hears what it writes there."""

import fcntl
import multiprocessing
import os
import re
import select
import signal
import struct
import sys
import termios
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from multiprocessing.process import BaseProcess

_PRELOAD = ["pubner.cli", "training.jobs.train", "training.jobs.tune"]
_TIMEOUT_SECONDS = 500
_POLL_SECONDS = 0.05
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_CONTROL = re.compile(rf"{_ESCAPES.pattern}|[\r\n]+")


class OnTerminal:
    """`pubner` on a terminal of its own, and what it has shown there so far.

    The terminal is the process's controlling one.
    """

    def __init__(self, process: BaseProcess, terminal: int) -> None:
        self._process = process
        self._terminal = terminal
        self._shown = bytearray()
        self._gone = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self._process.is_alive()

    @property
    def code(self) -> int | None:
        """How it ended (negative: the signal); None while it runs."""
        return self._process.exitcode

    @property
    def shown(self) -> str:
        """All that was written to the terminal, control codes in it."""
        return self._shown.decode("utf-8", "replace")

    @property
    def drawn(self) -> list[str]:
        """The pieces of text between control codes and line ends."""
        return [part for part in _CONTROL.split(self.shown) if part.strip()]

    @property
    def lines(self) -> list[str]:
        """What was written, in the order it was, without colours and movements of the cursor."""
        plain = _ESCAPES.sub("", self.shown)
        return [line for part in plain.split("\n") for line in part.split("\r") if line.strip()]

    @property
    def text(self) -> str:
        """The lines as one text."""
        return "\n".join(self.lines)

    def press(self, key: bytes) -> None:
        """Type a key, such as Ctrl-C, which is `\\x03`."""
        os.write(self._terminal, key)

    def hang_up(self) -> None:
        """Close the terminal: SIGHUP, as when its window is closed or SSH breaks."""
        self._gone.set()
        self._reader.join()

    def finish(self, timeout: float = _TIMEOUT_SECONDS) -> int:
        """Wait for the end; return the exit code."""
        self._process.join(timeout)
        self._reader.join(timeout=10)
        assert self.code is not None, self.shown
        return self.code

    def _read(self) -> None:
        with suppress(OSError):  # nobody has the terminal any more
            while not self._gone.is_set():
                if select.select([self._terminal], [], [], _POLL_SECONDS)[0]:
                    self._shown += os.read(self._terminal, 65536)
        os.close(self._terminal)


def start_on_terminal(
    words: Sequence[str],
    *,
    columns: int,
    environment: Mapping[str, str] | None = None,
    preloaded: bool = False,
) -> OnTerminal:
    """Start `pubner` with `words` on a terminal that is `columns` wide.

    Where it is `preloaded`, a server forks it that has imported the heavy libraries once, so that
    it costs little.
    """
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    arguments = (list(words), os.ttyname(theirs), dict(environment or {}))
    process: BaseProcess
    if preloaded:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(_PRELOAD)
        process = context.Process(target=_run, args=arguments)
    else:
        process = multiprocessing.get_context("spawn").Process(target=_run, args=arguments)
    process.start()
    started = OnTerminal(process, ours)
    while started.is_running and not started.shown:  # until it has the terminal, ours must stay
        time.sleep(_POLL_SECONDS)
    os.close(theirs)
    return started


def run_in_terminal(
    words: Sequence[str],
    *,
    columns: int,
    environment: Mapping[str, str] | None = None,
    hang_up: Callable[[], bool] = lambda: False,
) -> OnTerminal:
    """Run `pubner` to its end as a preloaded process; close the terminal once `hang_up` says so."""
    running = start_on_terminal(words, columns=columns, environment=environment, preloaded=True)
    is_open = True
    while running.is_running:
        if is_open and hang_up():
            running.hang_up()
            is_open = False
        time.sleep(_POLL_SECONDS)
    running.finish()
    return running


def _run(words: list[str], terminal: str, environment: dict[str, str]) -> None:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # whatever the tests were started by
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.setsid()
    os.login_tty(os.open(terminal, os.O_RDWR))
    sys.stdin = os.fdopen(0, closefd=False)
    sys.stdout = os.fdopen(1, "w", buffering=1, closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, closefd=False)
    for name in ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR"):
        os.environ.pop(name, None)
    os.environ.update({"TERM": "xterm-256color", "OMP_NUM_THREADS": "1"} | environment)
    from pubner import cli

    code = cli.main(words)
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):  # the terminal may be gone
            stream.flush()
    os._exit(code)
