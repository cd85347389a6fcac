"""In-process channel between the DoFns and the command: progress, stop requests, and errors.

Beam gives a running pipeline no way to report its progress, to receive a stop request, or to name
the error that ended it. Two pipes do, without global state: the steps hold a `WorkerChannel`, the
command a `RunChannel`. In any other process (a cluster's worker) a `WorkerChannel` does nothing.
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
"""Characters of an error in one line: at most 3000 bytes of JSON, since a write of up to 4096 bytes
to a pipe is atomic."""
_WAIT_SECONDS = 10.0
"""Timeout for writing a piece of an error to a full pipe."""


@dataclass(frozen=True, slots=True)
class WorkerChannel:
    """The steps' end of the channel: process id and file descriptors; -1 for a closed channel."""

    process: int = -1
    report_to: int = -1
    stop_from: int = -1

    def report(self, **counts: int) -> None:
        """Report counts to add, such as `citations=25` or `input_bytes=1024`."""
        self._send(counts)

    def failed(self, error: BaseException) -> None:
        """Report the error that ends the pipeline, in full."""
        text = error_to_json(error)
        begins = range(0, len(text), _PIECE)
        name = uuid.uuid4().hex
        for begin in begins:
            piece = text[begin : begin + _PIECE]
            self._send({"error": name, "last": begin == begins[-1], "piece": piece}, waits=True)

    def check(self) -> None:
        """Return unless the run was asked to stop.

        :raises RunStoppedError: if the command asked to stop.
        """
        if self._is_here() and select.select([self.stop_from], [], [], 0)[0]:
            raise RunStoppedError("stopped on request")

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Report an error that is raised in the block."""
        try:
            yield
        except GeneratorExit:  # Beam closes a step because of an error elsewhere
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
            return  # a full or closed pipe loses a progress update, and must not fail the step


@dataclass
class RunChannel:
    """The command's end of the channel: the counts so far, the run's error, and the stop request.

    The run's error is the first one reported, but a `RunStoppedError` is replaced by any other.
    `clock` returns seconds from any origin.
    """

    worker_side: WorkerChannel
    clock: Callable[[], float]
    counts: dict[str, int] = field(default_factory=dict)
    failure: PubnerError | None = None
    _pieces: dict[str, str] = field(default_factory=dict)
    _stop_to: int = -1
    _begin: float | None = None
    _latest: float = 0.0

    def annotating_seconds(self) -> float:
        """Return the seconds from the model's load to the latest report; 0 before the load."""
        return 0.0 if self._begin is None else max(0.0, self._latest - self._begin)

    def stop(self) -> None:
        """Ask every step to stop; safe to call in a signal handler."""
        os.write(self._stop_to, b".")

    def receive(self, line: bytes) -> None:
        """Process one report."""
        message = json.loads(line)
        if "error" in message:
            self._receive_error(message["error"], message["piece"], last=message["last"])
            return
        self._latest = self.clock()
        if "models" in message and self._begin is None:
            self._begin = self._latest
        for name, count in message.items():
            self.counts[name] = self.counts.get(name, 0) + count

    def error(self) -> PubnerError | None:
        """Return the error that ended the pipeline; `UnexpectedError` if it is not pubner's."""
        return self.failure

    def _receive_error(self, name: str, piece: str, *, last: bool) -> None:
        text = self._pieces.pop(name, "") + piece
        if not last:
            self._pieces[name] = text
        elif self.failure is None or isinstance(self.failure, RunStoppedError):
            self.failure = error_from_json(text)


@contextmanager
def open_run_channel(clock: Callable[[], float]) -> Iterator[RunChannel]:
    """Open the channel of one pipeline run."""
    report_from, report_to = os.pipe()
    stop_from, stop_to = os.pipe()
    os.set_blocking(report_to, False)
    run_channel = RunChannel(
        WorkerChannel(os.getpid(), report_to, stop_from), clock, _stop_to=stop_to
    )

    def listen() -> None:
        with os.fdopen(report_from, "rb") as stream:
            for line in stream:
                run_channel.receive(line)

    listener = threading.Thread(target=listen, name="pubner-run-channel", daemon=True)
    listener.start()
    try:
        yield run_channel
    finally:
        os.close(report_to)
        listener.join()
        for descriptor in (stop_from, stop_to):
            os.close(descriptor)
