"""Runs `pubner` on a pseudo-terminal of a given width, and hears what it writes there.

A fork server imports the heavy libraries once, so that a process costs little.
"""

import fcntl
import multiprocessing
import os
import re
import select
import struct
import sys
import termios
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.context import ForkServerProcess

_PRELOAD = ["pubner", "training.jobs.train", "training.jobs.tune"]
_TIMEOUT_SECONDS = 300
_ESCAPES = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]")


@dataclass(frozen=True)
class Shown:
    """How a process ended (negative: the signal), and all that it wrote to its terminal."""

    code: int
    raw: bytes

    @property
    def lines(self) -> list[str]:
        """What was written, in the order it was, without colours and movements of the cursor."""
        plain = _ESCAPES.sub(b"", self.raw).decode()
        return [line for part in plain.split("\n") for line in part.split("\r") if line.strip()]

    @property
    def text(self) -> str:
        """The lines as one text."""
        return "\n".join(self.lines)


def run_in_terminal(
    words: Sequence[str],
    *,
    columns: int,
    environment: Mapping[str, str] | None = None,
    hang_up: Callable[[], bool] = lambda: False,
) -> Shown:
    """Run `pubner` with `words` on a terminal; close the terminal once `hang_up` says so.

    The terminal is the process's controlling one, so closing it sends SIGHUP, as a closed window
    or a broken SSH connection does.
    """
    master, slave = os.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOAD)
    process: ForkServerProcess = context.Process(
        target=_child, args=(list(words), os.ttyname(slave), dict(environment or {}))
    )
    process.start()
    read = bytearray()
    is_open = True
    while process.is_alive() or (is_open and select.select([master], [], [], 0)[0]):
        if is_open and hang_up():
            os.close(slave)
            os.close(master)
            is_open = False
        if not is_open:
            process.join(0.05)
        elif select.select([master], [], [], 0.05)[0]:
            read += os.read(master, 65536)
    process.join(_TIMEOUT_SECONDS)
    if is_open:
        os.close(slave)
        os.close(master)
    assert process.exitcode is not None
    return Shown(process.exitcode, bytes(read))


def _child(words: list[str], terminal: str, environment: dict[str, str]) -> None:
    os.setsid()
    descriptor = os.open(terminal, os.O_RDWR)
    os.login_tty(descriptor)
    sys.stdin = os.fdopen(0, closefd=False)
    sys.stdout = os.fdopen(1, "w", buffering=1, closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, closefd=False)
    for name in ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR"):
        os.environ.pop(name, None)
    os.environ.update({"TERM": "xterm-256color", "OMP_NUM_THREADS": "1"} | environment)
    from pubner import cli

    code = cli.main(words)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
