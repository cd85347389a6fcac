"""Signals that ask to end while messages are sent: the first asks, the second ends it at once."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

from worker.cli.signals import stop_requests


class StoppedError(Exception):
    """The command was asked to end."""


@dataclass(slots=True)
class StopRequest:
    """The signal that asked the command to end; 0 where none did."""

    signal: int = 0

    def check(self) -> None:
        """Go on, or end.

        :raises StoppedError: if a signal came.
        """
        if self.signal:
            raise StoppedError

    @property
    def exit_code(self) -> int:
        """The status of a process that ended on the signal's account."""
        return 128 + self.signal


@contextmanager
def stopping() -> Iterator[StopRequest]:
    """Take SIGINT, SIGTERM and SIGHUP as requests while the block runs, in the main thread."""
    request = StopRequest()
    before = {number: signal.getsignal(number) for number in stop_requests()}

    def ask(number: int, _: FrameType | None) -> None:
        request.signal = number
        for each in before:
            signal.signal(each, signal.SIG_DFL)

    for number in before:
        signal.signal(number, ask)
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
