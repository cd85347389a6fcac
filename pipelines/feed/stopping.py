"""Stop signals while messages are sent: the first requests a stop, the second kills the process."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from worker.cli.signals import handling_stop_signals, stop_requests


class StoppedError(Exception):
    """Raised when the command is asked to stop."""


@dataclass(slots=True)
class StopRequest:
    """The signal that asked the command to stop; 0 if none did."""

    signal: int = 0

    def check(self) -> None:
        """Raise if a stop was requested.

        :raises StoppedError: if a signal was received.
        """
        if self.signal:
            raise StoppedError

    @property
    def exit_code(self) -> int:
        """The exit code of a process that the signal ended."""
        return 128 + self.signal


@contextmanager
def stopping() -> Iterator[StopRequest]:
    """Treat SIGINT, SIGTERM and SIGHUP as stop requests within the block, in the main thread."""
    request = StopRequest()

    def ask(number: int) -> None:
        request.signal = number
        for each in handled:
            signal.signal(each, signal.SIG_DFL)

    handled = stop_requests()
    with handling_stop_signals(ask, ask):
        yield request
