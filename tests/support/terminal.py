"""Runs a program on a pseudo-terminal of a given size."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.support.root import ROOT

_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[\r\n]+")


@dataclass
class OnTerminal:
    """`pubner` on a terminal of its own: what it has shown so far, control codes in it."""

    process: "subprocess.Popen[bytes]"
    _terminal: int
    _shown: bytearray = field(default_factory=bytearray)

    def __post_init__(self) -> None:
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def shown(self) -> str:
        """All that was written to the terminal."""
        return self._shown.decode("utf-8", "replace")

    @property
    def drawn(self) -> list[str]:
        """The pieces of text between control codes and line ends."""
        return [part for part in _CONTROL.split(self.shown) if part.strip()]

    def press(self, key: bytes) -> None:
        """Type a key, such as Ctrl-C, which is `\\x03`."""
        os.write(self._terminal, key)

    def hang_up(self) -> None:
        """Close the terminal, as when its window is closed."""
        os.close(self._terminal)

    def finish(self, timeout: float = 500) -> int:
        """Wait for the end; return the exit code."""
        code = self.process.wait(timeout)
        self._reader.join(timeout=10)
        return code

    def _read(self) -> None:
        while True:
            try:
                part = os.read(self._terminal, 65536)
            except OSError:
                return
            if not part:
                return
            self._shown += part


def start_on_terminal(words: Sequence[str], *, columns: int) -> OnTerminal:
    """Start `pubner` with `words` on a terminal that is `columns` wide."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environment = {**os.environ, "TERM": "xterm-256color", "OMP_NUM_THREADS": "1"}
    for name in ("COLUMNS", "LINES", "NO_COLOR"):
        environment.pop(name, None)
    process = subprocess.Popen(
        [sys.executable, "-c", _START, *words],
        cwd=ROOT,
        env=environment,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    return OnTerminal(process, ours)


_START = """
import fcntl, signal, sys, termios
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # whatever the tests were started by
signal.signal(signal.SIGINT, signal.default_int_handler)
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
from pubner import cli
sys.exit(cli.main(sys.argv[1:]))
"""
