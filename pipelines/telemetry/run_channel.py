"""A line from the steps of a pipeline back to the command that runs it, where both share a process.

Beam gives a running pipeline no way to say how far it is, to be asked to stop, or to name the error
that ended it. A pipe each way does, without global state: steps hold a `Monitor`, the command a
`Desk`. In any other process (a cluster's worker) a monitor does nothing.
"""

import json
import os
import select
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from schemas.errors import PubnerError, RunStoppedError, error_from_json, error_to_json

_PIECE = 1500
"""Characters of an error that one line takes: as JSON at most 3000 bytes, and a write to a pipe of
up to 4096 is never mixed with another."""
_WAIT_SECONDS = 10.0
"""How long a piece of an error waits for room in the pipe."""


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
        """Report the error that ends the pipeline, whole."""
        text = error_to_json(error)
        begins = range(0, len(text), _PIECE)
        name = uuid.uuid4().hex
        for begin in begins:
            piece = text[begin : begin + _PIECE]
            self._send({"error": name, "last": begin == begins[-1], "piece": piece}, waits=True)

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

    def _send(self, message: Mapping[str, object], *, waits: bool = False) -> None:
        if not self._is_here():
            return
        try:
            if waits:
                select.select([], [self.report_to], [], _WAIT_SECONDS)
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
    failure: PubnerError | None = None
    _pieces: dict[str, str] = field(default_factory=dict)
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
            self._take_error(message["error"], message["piece"], last=message["last"])
            return
        self._latest = self.clock()
        if "models" in message and self._begin is None:
            self._begin = self._latest
        for name, count in message.items():
            self.counts[name] = self.counts.get(name, 0) + count

    def error(self) -> PubnerError | None:
        """Return the error that ended the pipeline; `UnexpectedError` where it is not ours."""
        return self.failure

    def _take_error(self, name: str, piece: str, *, last: bool) -> None:
        text = self._pieces.pop(name, "") + piece
        if not last:
            self._pieces[name] = text
        elif self.failure is None or isinstance(self.failure, RunStoppedError):
            self.failure = error_from_json(text)


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
