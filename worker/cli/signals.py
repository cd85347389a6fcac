"""Signals that request a command to stop."""

import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType


def stop_requests() -> tuple[signal.Signals, ...]:
    """Return the signals that request a stop: SIGINT, SIGTERM and SIGHUP.

    SIGHUP is left out if the process was started with it ignored, as under `nohup`.
    """
    requests = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    return requests[:2] if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else requests


@contextmanager
def handling_stop_signals(
    first: Callable[[int], object],
    again: Callable[[int], object],
    numbers: Sequence[signal.Signals] | None = None,
) -> Iterator[list[int]]:
    """Call `first` with the first stop signal within the block, and `again` with each later one.

    Yields a list of the first signal, empty before. `numbers` are the signals, by default all that
    request a stop. Only the main thread may do this.
    """
    seen: list[int] = []

    def on_signal(number: int, _: FrameType | None) -> None:
        if seen:
            again(number)
        else:
            seen.append(number)
            first(number)

    before = {x: signal.signal(x, on_signal) for x in numbers or stop_requests()}
    try:
        yield seen
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
