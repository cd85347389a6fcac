"""A line from the steps of a pipeline back to the command that runs it, where both share a process.

Beam gives a running pipeline no way to say how far it is, to be asked to stop, or to name the error
that ended it. A pipe each way does, without global state: steps hold a `Monitor`, the command a
`Desk`. In any other process (a cluster's worker) a monitor does nothing.
"""

import json
import os
import select
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from schemas import errors
from schemas.errors import PubnerError, RunStoppedError

_LONGEST_LINE = 4000
"""Bytes; a write to a pipe of up to 4096 is never mixed with another."""


@dataclass(frozen=True, slots=True)
class Monitor:
    """The steps' end: process id and the two file descriptors; -1 where nobody listens."""

    process: int = -1
    report_to: int = -1
    stop_from: int = -1

    def report(self, **counts: int) -> None:
        """Tell the desk of counts to add, such as `citations=25` or `input_bytes=1024`."""
        self._send(counts)

    def failed(self, error: BaseException) -> None:
        """Tell the desk of the error that ends the pipeline."""
        self._send({"error": type(error).__name__, "message": str(error)[: _LONGEST_LINE // 8]})

    def check(self) -> None:
        """Go on, or end the step.

        :raises RunStoppedError: if the desk asked to stop.
        """
        if self._is_here() and select.select([self.stop_from], [], [], 0)[0]:
            raise RunStoppedError("stopped on request")

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Report an error that leaves the block."""
        try:
            yield
        except GeneratorExit:  # Beam lets go of a step because of an error elsewhere
            raise
        except BaseException as error:
            self.failed(error)
            raise

    def _is_here(self) -> bool:
        return self.process == os.getpid()

    def _send(self, message: dict[str, int] | dict[str, str]) -> None:
        if not self._is_here():
            return
        try:
            os.write(self.report_to, json.dumps(message).encode() + b"\n")
        except OSError:
            return  # a full or closed pipe costs a progress line, never the work


@dataclass
class Desk:
    """The command's end: counts so far, the error that counts, and the request to stop.

    The first error reported counts, but any counts more than that the run was asked to stop.

    `clock` gives seconds from any origin.
    """

    monitor: Monitor
    clock: Callable[[], float]
    counts: dict[str, int] = field(default_factory=dict)
    failure: tuple[str, str] | None = None
    _stop_to: int = -1
    _begin: float | None = None
    _latest: float = 0.0

    def annotating_seconds(self) -> float:
        """Return the time from the loading of the model to the latest citations; 0 before."""
        return 0.0 if self._begin is None else max(0.0, self._latest - self._begin)

    def stop(self) -> None:
        """Ask every step to end; safe to call in a signal handler."""
        os.write(self._stop_to, b".")

    def take(self, line: bytes) -> None:
        """Take one report."""
        message = json.loads(line)
        if "error" in message:
            if self.failure is None or self.failure[0] == RunStoppedError.__name__:
                self.failure = message["error"], message["message"]
            return
        self._latest = self.clock()
        if "models" in message and self._begin is None:
            self._begin = self._latest
        for name, count in message.items():
            self.counts[name] = self.counts.get(name, 0) + count

    def error(self) -> PubnerError | None:
        """Return the error that ended the pipeline, if pubner raised it on purpose."""
        if self.failure is None:
            return None
        name, message = self.failure
        kind = getattr(errors, name, None)
        if isinstance(kind, type) and issubclass(kind, PubnerError):
            return kind(message)
        return RunStoppedError(message) if name == RunStoppedError.__name__ else None


@contextmanager
def open_desk(clock: Callable[[], float]) -> Iterator[Desk]:
    """Open the line for the time of one pipeline run."""
    report_from, report_to = os.pipe()
    stop_from, stop_to = os.pipe()
    os.set_blocking(report_to, False)
    desk = Desk(Monitor(os.getpid(), report_to, stop_from), clock, _stop_to=stop_to)

    def listen() -> None:
        with os.fdopen(report_from, "rb") as stream:
            for line in stream:
                desk.take(line)

    listener = threading.Thread(target=listen, name="pubner-desk", daemon=True)
    listener.start()
    try:
        yield desk
    finally:
        os.close(report_to)
        listener.join()
        for descriptor in (stop_from, stop_to):
            os.close(descriptor)
