"""Signals that stop a stream: the first requests it, a second one ends the process."""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pipelines.telemetry.logs import log
from schemas.errors import PubnerError
from worker.cli.signals import handling_stop_signals


@contextmanager
def stopping(
    request: Callable[[], object], remaining: Callable[[], None] = lambda: None
) -> Iterator[threading.Event]:
    """Turn SIGINT, SIGTERM and SIGHUP into `request`; a second one ends the process at once.

    The first signal sets the event that is yielded. `remaining` is called before the process ends.
    """
    asked = threading.Event()

    def on_signal(number: int) -> None:
        if asked.is_set():
            remaining()
            os._exit(128 + number)
        asked.set()
        # Not in the handler: a request may write a file, and the interrupted code may hold a lock.
        threading.Thread(target=ask, name="pubner-stop", daemon=True).start()

    def ask() -> None:
        try:
            request()
        except PubnerError as error:
            asked.clear()
            log("cannot request the stop of the run, send the signal again", error=str(error))

    with handling_stop_signals(on_signal, on_signal):
        yield asked
