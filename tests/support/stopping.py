"""Stopping a long command by a signal once it has come to a certain place."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

_START = "import sys; from pubner import cli; sys.exit(cli.main(sys.argv[1:]))"


def kill_command(words: Sequence[str], reached: Callable[[], bool]) -> None:
    """Run `pubner` in a process of its own and kill it (SIGKILL) once `reached`."""
    run = subprocess.Popen(
        [sys.executable, "-c", _START, *words],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    while not reached() and run.poll() is None:
        time.sleep(0.02)
    run.kill()
    printed, _ = run.communicate(timeout=120)
    assert run.returncode == -signal.SIGKILL, printed


@contextmanager
def signalled(how: signal.Signals, reached: Callable[[], bool]) -> Iterator[None]:
    """Send this process the signal `how` once `reached`, while the body runs in its main thread.

    The body must have a handler for it by then, and be at it still. Where the process that runs
    the tests has the signal ignored, it is not while the body runs.
    """
    before = signal.getsignal(how)
    if before is signal.SIG_IGN:
        signal.signal(how, signal.SIG_DFL)
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(0.005):
            if reached():
                os.kill(os.getpid(), how)
                return

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        if before is signal.SIG_IGN:
            signal.signal(how, before)
