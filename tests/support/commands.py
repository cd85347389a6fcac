"""Runs `pubner` in a process of its own that can be killed, starved and listened to.

A fork server imports the heavy libraries once, so that a process costs little.
"""

import atexit
import logging
import multiprocessing
import os
import re
import resource
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.context import ForkServerProcess
from pathlib import Path

_PRELOAD = [
    "pubner",
    "pipelines.commands.annotate",
    "pipelines.runtime.batch",
    "pipelines.output.summary",
]
_TIMEOUT_SECONDS = 500
_PROGRESS = re.compile(r"\[[0-9:]+\] ")


@dataclass(frozen=True)
class Finished:
    """How a process ended: its exit code (negative: the signal) and what it wrote."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        """The lines on standard error that do not tell of progress."""
        return [line for line in self.err.splitlines() if not _PROGRESS.match(line)]

    @property
    def one_line(self) -> str:
        """The one line on standard error that is no progress; fails where there are others."""
        assert len(self.lines) == 1, self.err
        return self.lines[0]


class Running:
    """A `pubner` process."""

    def __init__(
        self,
        folder: Path,
        words: Sequence[str],
        *,
        environment: Mapping[str, str],
        largest_file: int | None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._out, self._err = folder / "stdout", folder / "stderr"
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(_PRELOAD)
        self._process: ForkServerProcess = context.Process(
            target=_child,
            args=(list(words), dict(environment), str(self._out), str(self._err), largest_file),
        )
        self._process.start()

    @property
    def is_alive(self) -> bool:
        """Whether it still runs."""
        return self._process.is_alive()

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._process.pid is not None
        return self._process.pid

    def send(self, number: int) -> None:
        """Send a signal."""
        if self._process.pid is not None and self.is_alive:
            os.kill(self._process.pid, number)

    def finish(self) -> Finished:
        """Wait for its end."""
        self._process.join(_TIMEOUT_SECONDS)
        code = self._process.exitcode
        if code is None:
            self._process.kill()
            raise AssertionError(f"pubner did not end: {self._err.read_text()}")
        read = [path.read_text() if path.exists() else "" for path in (self._out, self._err)]
        return Finished(code, read[0], read[1])


def start_pubner(
    folder: Path,
    *words: str,
    environment: Mapping[str, str] | None = None,
    largest_file: int | None = None,
) -> Running:
    """Start `pubner` with `words`; what it writes is kept in `folder`.

    `largest_file` is the most bytes that a file it writes may have.
    """
    return Running(folder, words, environment=environment or {}, largest_file=largest_file)


def run_pubner(
    folder: Path,
    *words: str,
    environment: Mapping[str, str] | None = None,
    largest_file: int | None = None,
) -> Finished:
    """Run `pubner` with `words` to its end."""
    return start_pubner(folder, *words, environment=environment, largest_file=largest_file).finish()


def _child(
    words: list[str],
    environment: dict[str, str],
    out: str,
    err: str,
    largest_file: int | None,
) -> None:
    for descriptor, path in ((1, out), (2, err)):
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, descriptor)
        os.close(file)
    sys.stdout = os.fdopen(1, "w", closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, closefd=False)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # whatever the tests were started by
    logging.getLogger().handlers.clear()  # what Beam, imported by the fork server, has left
    os.environ.update(environment)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    if largest_file is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, before[1]))
    from pubner import cli

    code = cli.main(words)
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    atexit._run_exitfuncs()  # which ends Prism; multiprocessing leaves them out
    sys.stdout.flush()
    sys.stderr.flush()
    sys.exit(code)
