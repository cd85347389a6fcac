"""Signals that stop a stream: the first requests it, a second one ends the process."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from pipelines.telemetry.logs import log
from schemas.errors import PubnerError
from worker.cli.signals import stop_requests


@contextmanager
def stopping(
    request: Callable[[], object], remaining: Callable[[], None] = lambda: None
) -> Iterator[threading.Event]:
    """Turn SIGINT, SIGTERM and SIGHUP into `request`; a second one ends the process at once.

    The first signal sets the event that is yielded. `remaining` is called before the process ends.
    """
    seen = threading.Event()

    def on_signal(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        if seen.is_set():
            remaining()
            os._exit(128 + number)
        seen.set()
        # Not in the handler: a request may write a file, and the interrupted code may hold a lock.
        threading.Thread(target=ask, name="pubner-stop", daemon=True).start()

    def ask() -> None:
        try:
            request()
        except PubnerError as error:
            seen.clear()
            log("cannot request the stop of the run, send the signal again", error=str(error))

    before = {number: signal.signal(number, on_signal) for number in stop_requests()}
    try:
        yield seen
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
